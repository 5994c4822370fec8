//! [`Operation`]: one row of the routes' table, which says of a request what `/v1/openapi.json` tells and what is enforced before its handler.
//!
//! It knows no handlers, and nothing of OpenAPI's own form.

use axum::http::{Method, StatusCode};
use reveille_config::dto::token::Role;
use reveille_config::limit::BODY_BYTES_MAX;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::parameter::{Parameter, Place};

/// Makes the schema of a type.
pub type Shape = fn(&mut SchemaGenerator) -> Schema;

/// A request that there is.
#[derive(Debug)]
pub struct Operation {
    /// The method.
    pub method: Method,
    /// The path as the router matches it.
    pub path: &'static str,
    /// What generated clients call it.
    pub id: &'static str,
    /// What it does, in one sentence.
    pub what: &'static str,
    /// The role that its caller needs; `None`: none at all.
    pub role: Option<Role>,
    /// What its path, query and head may say.
    pub parameters: Vec<Parameter>,
    /// What it takes.
    pub body: Option<Body>,
    /// What is said when all is well.
    pub answers: Vec<Answer>,
    /// What else may be said, as problems.
    pub failures: Vec<StatusCode>,
}

/// A JSON body.
#[derive(Debug)]
pub struct Body {
    /// What it is.
    pub shape: Shape,
    /// Whether it may be left out.
    pub optional: bool,
    /// Octets of it.
    pub bytes_max: usize,
}

/// A status that means success.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// What it means.
    pub what: &'static str,
    /// The forms that it may have: media type and what is in it. None: it is empty.
    pub forms: Vec<(&'static str, Content)>,
    /// Whether an `ETag` comes with it.
    pub tagged: bool,
}

/// What an answer's body is.
#[derive(Debug)]
pub enum Content {
    /// One JSON value.
    Json(Shape),
    /// Text for people, or in another format.
    Text,
    /// Many of these, one after the other: JSON lines, or the data of server-sent events.
    Stream(&'static [Shape]),
}

/// The schema of `T`, by reference where it has a name.
pub fn shape<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

impl Operation {
    /// One whose caller needs the usual role: `read` to look, `write` to change.
    pub fn new(method: Method, path: &'static str, id: &'static str, what: &'static str) -> Self {
        let role = Some(if method == Method::GET { Role::Read } else { Role::Write });
        let (parameters, answers, failures) = Default::default();
        Self { method, path, id, what, role, parameters, body: None, answers, failures }
    }

    /// For callers of this role.
    pub fn role(self, role: Role) -> Self {
        Self { role: Some(role), ..self }
    }

    /// For everybody.
    pub fn open(self) -> Self {
        Self { role: None, ..self }
    }

    /// With these parameters.
    pub fn with(mut self, parameters: &[Parameter]) -> Self {
        self.parameters.extend_from_slice(parameters);
        self
    }

    /// With a body of the usual size.
    pub fn body<T: JsonSchema>(self) -> Self {
        Self { body: Some(Body { shape: shape::<T>, optional: false, bytes_max: BODY_BYTES_MAX }), ..self }
    }

    /// With a body that may be left out.
    pub fn optional_body<T: JsonSchema>(self) -> Self {
        Self { body: Some(Body { shape: shape::<T>, optional: true, bytes_max: BODY_BYTES_MAX }), ..self }
    }

    /// With a body of so many octets at most.
    pub fn long_body<T: JsonSchema>(self, bytes_max: usize) -> Self {
        Self { body: Some(Body { shape: shape::<T>, optional: false, bytes_max }), ..self }
    }

    /// Answered with a JSON value.
    pub fn json<T: JsonSchema>(self, status: StatusCode, what: &'static str) -> Self {
        self.answer(status, what, vec![("application/json", Content::Json(shape::<T>))])
    }

    /// Answered in one of these forms.
    pub fn answer(mut self, status: StatusCode, what: &'static str, forms: Vec<(&'static str, Content)>) -> Self {
        self.answers.push(Answer { status, what, forms, tagged: false });
        self
    }

    /// Answered without a word.
    pub fn empty(self, what: &'static str) -> Self {
        self.answer(StatusCode::NO_CONTENT, what, Vec::new())
    }

    /// Its answers so far bear an `ETag`.
    pub fn tagged(mut self) -> Self {
        self.answers.iter_mut().for_each(|answer| answer.tagged = true);
        self
    }

    /// May fail so, too.
    pub fn fails(mut self, failures: &[StatusCode]) -> Self {
        self.failures.extend_from_slice(failures);
        self
    }

    /// Every status that may come instead of an answer, in order: those of the table, and those that follow from what a request is.
    pub fn all_failures(&self) -> Vec<StatusCode> {
        let mut all = self.failures.clone();
        if !self.parameters.is_empty() || self.path.starts_with("/v1/") || self.body.is_some() {
            all.push(StatusCode::BAD_REQUEST);
        }
        if self.body.is_some() {
            all.extend([StatusCode::REQUEST_TIMEOUT, StatusCode::PAYLOAD_TOO_LARGE]);
        }
        if let Some(role) = self.role {
            all.push(StatusCode::UNAUTHORIZED);
            if role > Role::Read {
                all.push(StatusCode::FORBIDDEN);
            }
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The names that its query may have.
    pub fn query_names(&self) -> impl Iterator<Item = &'static str> {
        self.parameters.iter().filter(|parameter| parameter.place == Place::Query).map(|parameter| parameter.name)
    }
}
