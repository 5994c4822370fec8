//! Who may do what: each request needs a [`Role`], which its caller has by the way it came in, by a client certificate or by a bearer token (RFC 6750).
//!
//! Which role a request needs, and which parameters it may have, is said by its row in [`super::routes`]. A token counts alone: it does not add to what its bearer may do anyway.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use metrics::counter;
use reveille_config::dto::token::Role;

use super::body::Query;
use super::problem::ApiError;
use super::routes::operation::Operation;
use super::{ApiState, unix_now};

/// What is known of a caller by its connection; each request carries it.
#[derive(Debug, Clone)]
pub struct Peer {
    /// What it may do without a token.
    pub role: Option<Role>,
}

impl Peer {
    /// Somebody who may open the unix socket.
    pub const LOCAL: Self = Self { role: Some(Role::Admin) };
}

/// What is asked of each request before its handler has it.
#[derive(Debug)]
pub struct Gate {
    state: Arc<ApiState>,
    rules: Vec<Rule>,
}

/// What a route asks.
#[derive(Debug)]
struct Rule {
    method: Method,
    path: &'static str,
    role: Option<Role>,
    parameters: Vec<&'static str>,
}

impl Gate {
    /// One that asks what these routes ask.
    pub fn new(state: Arc<ApiState>, operations: &[Operation]) -> Self {
        let rule = |own: &Operation| {
            let (method, parameters) = (own.method.clone(), own.query_names().collect());
            Rule { method, path: own.path, role: own.role, parameters }
        };
        Self { state, rules: operations.iter().map(rule).collect() }
    }

    /// The rule of a request; `None`: there is no such route.
    fn rule(&self, method: &Method, path: &str) -> Option<&Rule> {
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        self.rules.iter().find(|rule| rule.path == path && rule.method == method)
    }
}

/// Lets a request in whose caller has the role for it, and whose query has only parameters of its route. What there is not is said to whoever may look.
pub async fn admit(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let rule = gate.rule(request.method(), path);
    let checked = match rule.map_or(Some(Role::Read), |rule| rule.role) {
        Some(needed) => check_role(&gate.state, &request, path, needed),
        None => Ok(()),
    };
    let checked = checked.and_then(|()| rule.map_or(Ok(()), |rule| check_query(&request, rule)));
    match checked {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn check_role(state: &ApiState, request: &Request, path: &str, needed: Role) -> Result<(), ApiError> {
    match role(state, request) {
        Ok(Some(role)) if role >= needed => Ok(()),
        Ok(Some(role)) => {
            refused("role");
            let detail = format!("{} {path} needs the role {needed}; yours is {role}", request.method());
            Err(ApiError::forbidden(detail))
        }
        Ok(None) => {
            refused("nobody");
            let expected =
                "a token is expected, as in `Authorization: Bearer rvl_…`, or a client certificate with a role";
            Err(ApiError::unauthorized(expected))
        }
        Err(error) => {
            refused("token");
            Err(error)
        }
    }
}

/// Probes and scrapers may ask with what they like.
fn check_query(request: &Request, rule: &Rule) -> Result<(), ApiError> {
    if !rule.path.starts_with("/v1/") {
        return Ok(());
    }
    let query = Query::of(request.uri())?;
    if let Some((name, _)) = query.pairs().find(|(name, value)| value.is_empty() && rule.parameters.contains(name)) {
        // As of a script whose variable was empty: it would have meant one and got all.
        return Err(ApiError::malformed(Some(name), "it is there without a value; leave it out"));
    }
    match query.pairs().find(|(name, _)| !rule.parameters.contains(name)) {
        None => Ok(()),
        Some((name, _)) if rule.parameters.is_empty() => {
            Err(ApiError::malformed(Some(name), "there are no parameters here"))
        }
        Some((name, _)) => {
            let names = rule.parameters.join(", ");
            Err(ApiError::malformed(Some(name), format!("the parameters here are: {names}")))
        }
    }
}

fn refused(reason: &'static str) {
    counter!("reveille_dhcpd_http_not_admitted_total", "reason" => reason).increment(1);
}

/// The role that a caller has.
fn role(state: &ApiState, request: &Request) -> Result<Option<Role>, ApiError> {
    let Some(authorization) = request.headers().get(header::AUTHORIZATION) else {
        return Ok(request.extensions().get::<Peer>().and_then(|peer| peer.role));
    };
    let bearer = authorization.to_str().ok().and_then(|text| text.split_once(' '));
    let token = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    let token = token.ok_or_else(|| ApiError::unauthorized("`Authorization` is not `Bearer` and a token"))?;
    let known = state.tokens.check(token, unix_now());
    known.map(|(role, _)| Some(role)).ok_or_else(|| ApiError::unauthorized("the token is unknown, revoked or over"))
}
