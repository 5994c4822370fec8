//! What there may be at a time of what lasts: exports. Beyond it a clear answer; room again when one ends.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use reveille_config::limit::EXPORTS_MAX;
use reveille_dhcpd::api::Peer;
use tower::ServiceExt as _;

use crate::harness::Server;

/// What a request is answered.
async fn ask(router: Router, method: &'static str, path: &'static str, body: Body) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(path).body(body).unwrap();
    request.extensions_mut().insert(Peer::LOCAL);
    router.oneshot(request).await.unwrap()
}

#[tokio::test]
async fn as_many_exports_are_read_as_there_may_be() {
    let server = Server::new();
    let export = async || ask(server.router.clone(), "GET", "/v1/leases:export", Body::empty()).await;
    let mut open = Vec::new();
    for _ in 0..EXPORTS_MAX {
        let answer = export().await;
        assert_eq!(answer.status(), StatusCode::OK);
        open.push(answer);
    }
    let refused = export().await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key(header::RETRY_AFTER));
    let detail = refused.into_body().collect().await.unwrap().to_bytes();
    let detail = String::from_utf8_lossy(&detail).into_owned();
    assert!(detail.contains(&format!("{EXPORTS_MAX} exports are being read")), "{detail}");
    // Whoever has read all of one, or goes away, makes room.
    open.pop().unwrap().into_body().collect().await.unwrap();
    let next = export().await;
    assert_eq!(next.status(), StatusCode::OK);
    drop(next);
    assert_eq!(export().await.status(), StatusCode::OK);
}
