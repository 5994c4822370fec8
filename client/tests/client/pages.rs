//! `Ironic::nodes` puts pages together, whatever the server does at their ends.

use reveille_client::Ironic;
use serde_json::{Value, json};

use crate::fake::Fake;

fn page(names: &[&str], next: bool) -> Value {
    let nodes: Vec<_> = names.iter().map(|name| json!({ "uuid": name, "name": null })).collect();
    let mut page = json!({ "nodes": nodes });
    if next {
        page["next"] = json!("http://somewhere.else.example:1/v1/nodes?marker=trap");
    }
    page
}

#[tokio::test]
async fn lists_every_node_once() {
    const FIRST: &str = "GET /v1/nodes?detail=true";
    const AFTER_B: &str = "GET /v1/nodes?detail=true&marker=b";
    const AFTER_C: &str = "GET /v1/nodes?detail=true&marker=c";
    let rows = [
        ("none", vec![page(&[], false)], vec![], vec![FIRST]),
        ("one page", vec![page(&["a", "b"], false)], vec!["a", "b"], vec![FIRST]),
        ("two pages", vec![page(&["a", "b"], true), page(&["c"], false)], vec!["a", "b", "c"], vec![FIRST, AFTER_B]),
        (
            "a full last page is followed by an empty one",
            vec![page(&["a", "b"], true), page(&["c"], true), page(&[], false)],
            vec!["a", "b", "c"],
            vec![FIRST, AFTER_B, AFTER_C],
        ),
        (
            "a server that ignores the marker does not hold us for ever",
            vec![page(&["a", "b"], true), page(&["a", "b"], true)],
            vec!["a", "b"],
            vec![FIRST, AFTER_B],
        ),
    ];
    for (name, pages, expected, lines) in rows {
        let fake = Fake::unix();
        for page in &pages {
            fake.json(200, page);
        }
        let nodes = Ironic::new(fake.endpoint.clone()).nodes().await.unwrap();
        assert_eq!(nodes.iter().map(|node| node.uuid.as_str()).collect::<Vec<_>>(), expected, "{name}");
        assert_eq!(fake.asked().iter().map(|asked| asked.line.clone()).collect::<Vec<_>>(), lines, "{name}");
    }
}

#[tokio::test]
async fn a_page_that_fails_fails_the_list() {
    let fake = Fake::unix();
    fake.json(200, &page(&["a", "b"], true)).json(500, &json!({ "error_message": "out of order" }));
    let error = Ironic::new(fake.endpoint.clone()).nodes().await.unwrap_err();
    assert_eq!((error.status(), error.to_string().as_str()), (Some(500), "out of order"));
}
