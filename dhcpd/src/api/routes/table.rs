//! [`Table`]: what is routed and what is told of it, added together. So no request can be answered that the description does not name.

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, on};

use super::operation::Operation;

/// The routes of an API with this state.
#[derive(Debug)]
pub struct Table<S> {
    router: Router<S>,
    operations: Vec<Operation>,
}

impl<S: Clone + Send + Sync + 'static> Table<S> {
    /// One without routes.
    pub fn new() -> Self {
        Self { router: Router::new(), operations: Vec::new() }
    }

    /// With one more.
    ///
    /// # Panics
    /// Where there is such a route already: the table is a constant of the program, and the first test finds it.
    pub fn add<H: Handler<T, S>, T: 'static>(mut self, operation: Operation, handler: H) -> Self {
        let filter = match operation.method {
            Method::GET => MethodFilter::GET,
            Method::PUT => MethodFilter::PUT,
            Method::POST => MethodFilter::POST,
            _ => MethodFilter::DELETE,
        };
        self.router = self.router.route(operation.path, on(filter, handler));
        self.operations.push(operation);
        self
    }

    /// What answers, and what there is.
    pub fn into_parts(self) -> (Router<S>, Vec<Operation>) {
        (self.router, self.operations)
    }
}
