//! [`Dhcpd`]: the lease API.

use std::net::Ipv4Addr;
use std::time::Duration;

use ::http::Method;
use reveille_config::dhcpd::ReservedFor;
use reveille_config::dto::dhcpd::{
    Approve, Batch, BatchDone, Lease, LeaseChange, Link, Page, Reservation, ReservationPut, ScopeUse, Sighting,
};
use reveille_config::dto::event::{EventPage, EventQuery};
use reveille_config::dto::reload::ReloadStatus;
use reveille_config::dto::token::{Token, TokenCreate, TokenCreated};
use reveille_config::{Endpoint, MacAddr};

use crate::events::{self, EventStream};
use crate::http::Http;
use crate::leases::{self, ExportFormat, LeaseExport, LeaseQuery};
use crate::query::{path, segment};
use crate::{Access, ClientError};

/// How much longer than another call a batch may take.
const BATCH_WAIT: Duration = Duration::from_secs(110);

/// A client of dhcpd's lease API.
#[derive(Debug, Clone)]
pub struct Dhcpd {
    http: Http,
}

impl Dhcpd {
    /// A client of the dhcpd at `endpoint`.
    pub fn new(endpoint: Endpoint) -> Self {
        Self { http: Http::new(endpoint) }
    }

    /// Shows `access` with every request.
    pub fn with_access(self, access: Access) -> Self {
        Self { http: self.http.with_access(access) }
    }

    /// Makes a token; its secret is shown this once.
    pub async fn create_token(&self, create: &TokenCreate) -> Result<TokenCreated, ClientError> {
        self.http.call(Method::POST, "/v1/tokens", Some(create)).await
    }

    /// All tokens, without their secrets.
    pub async fn tokens(&self) -> Result<Page<Token>, ClientError> {
        self.http.get("/v1/tokens").await
    }

    /// Revokes the token of this id; no error where there is none.
    pub async fn revoke_token(&self, id: &str) -> Result<(), ClientError> {
        self.http.send::<()>(Method::DELETE, &format!("/v1/tokens/{}", segment(id)), None).await
    }

    /// Puts a reservation; returns once it is durable and in force.
    pub async fn put_reservation(
        &self,
        client: impl Into<ReservedFor>,
        put: &ReservationPut,
    ) -> Result<Reservation, ClientError> {
        self.http.call(Method::PUT, &reservation_of(client), Some(put)).await
    }

    /// Puts and deletes many reservations, all or none; returns once they are durable and in force. With `dry_run` only says what that would change.
    pub async fn put_batch(&self, batch: &Batch, dry_run: bool) -> Result<BatchDone, ClientError> {
        let http = self.http.with_more_time(BATCH_WAIT);
        http.call(Method::POST, &path("/v1/reservations:batch", &[("dry_run", Some(&dry_run))]), Some(batch)).await
    }

    /// The reservation of a client, in `scope` where it has several.
    pub async fn reservation(
        &self,
        client: impl Into<ReservedFor>,
        scope: Option<&str>,
    ) -> Result<Reservation, ClientError> {
        let scope = scope.as_ref().map(|s| s as _);
        self.http.get(&path(&reservation_of(client), &[("scope", scope)])).await
    }

    /// The same with its tag, for [`Self::if_match`].
    pub async fn tagged_reservation(
        &self,
        client: impl Into<ReservedFor>,
        scope: Option<&str>,
    ) -> Result<(Reservation, Option<String>), ClientError> {
        let scope = scope.as_ref().map(|s| s as _);
        self.http.call_tagged::<(), _>(Method::GET, &path(&reservation_of(client), &[("scope", scope)]), None).await
    }

    /// The same client, whose puts and deletions change only what still has this tag, quotes and all, or is there at all (`*`); else they are refused with status 412.
    #[must_use]
    pub fn if_match(&self, tag: &str) -> Self {
        Self { http: self.http.clone().with_header("if-match", tag.to_owned()) }
    }

    /// Deletes the reservation of a client; no error where there is none.
    pub async fn delete_reservation(
        &self,
        client: impl Into<ReservedFor>,
        scope: Option<&str>,
    ) -> Result<(), ClientError> {
        let scope = scope.as_ref().map(|s| s as _);
        self.http.send::<()>(Method::DELETE, &path(&reservation_of(client), &[("scope", scope)]), None).await
    }

    /// One page of reservations.
    pub async fn reservations(
        &self,
        scope: Option<&str>,
        cursor: Option<&str>,
    ) -> Result<Page<Reservation>, ClientError> {
        let (scope, cursor) = (scope.as_ref().map(|s| s as _), cursor.as_ref().map(|c| c as _));
        self.http.get(&path("/v1/reservations", &[("scope", scope), ("cursor", cursor)])).await
    }

    /// One page of leases.
    pub async fn leases(&self, scope: Option<&str>, cursor: Option<&str>) -> Result<Page<Lease>, ClientError> {
        let (scope, cursor) = (scope.as_ref().map(|s| s as _), cursor.as_ref().map(|c| c as _));
        self.http.get(&path("/v1/leases", &[("scope", scope), ("cursor", cursor)])).await
    }

    /// A page of the leases that the query means. It may hold few, or none, and still name a next one.
    pub async fn leases_of(&self, query: &LeaseQuery, cursor: Option<&str>) -> Result<Page<Lease>, ClientError> {
        self.http.get(&query.path("/v1/leases", &[("cursor", cursor)])).await
    }

    /// All leases that the query means, as a stream; no snapshot of one moment.
    pub async fn export_leases(&self, query: &LeaseQuery, format: ExportFormat) -> Result<LeaseExport, ClientError> {
        leases::export(&self.http, query, format).await
    }

    /// The lease of a MAC or of an address.
    pub async fn lease(&self, mac_or_address: &str) -> Result<Lease, ClientError> {
        self.http.get(&format!("/v1/leases/{}", segment(mac_or_address))).await
    }

    /// The same in one scope, where a machine has leases in several.
    pub async fn lease_in(&self, mac_or_address: &str, scope: Option<&str>) -> Result<Lease, ClientError> {
        let scope = scope.as_ref().map(|s| s as _);
        self.http.get(&path(&format!("/v1/leases/{}", segment(mac_or_address)), &[("scope", scope)])).await
    }

    /// Gives up the lease of a MAC or of an address before its time; no error where there is none. Its client is not told.
    pub async fn release_lease(&self, mac_or_address: &str, scope: Option<&str>) -> Result<(), ClientError> {
        let scope = scope.as_ref().map(|s| s as _);
        let path = path(&format!("/v1/leases/{}", segment(mac_or_address)), &[("scope", scope)]);
        self.http.send::<()>(Method::DELETE, &path, None).await
    }

    /// What became of an address or of a machine's leases, renewals aside, the latest first; one of the two is given.
    pub async fn history(
        &self,
        address: Option<Ipv4Addr>,
        mac: Option<MacAddr>,
    ) -> Result<Page<LeaseChange>, ClientError> {
        let (address, mac) = (address.as_ref().map(|a| a as _), mac.as_ref().map(|m| m as _));
        self.http.get(&path("/v1/history", &[("address", address), ("mac", mac)])).await
    }

    /// The unknown machines seen on static scopes.
    pub async fn sightings(&self) -> Result<Page<Sighting>, ClientError> {
        self.http.get("/v1/sightings").await
    }

    /// Makes a sighted machine known: it gets its address at its next try.
    pub async fn approve(&self, mac: MacAddr, approve: &Approve) -> Result<Reservation, ClientError> {
        self.http.call(Method::POST, &format!("/v1/sightings/{mac}/approve"), Some(approve)).await
    }

    /// How full the scopes are.
    pub async fn scopes(&self) -> Result<Page<ScopeUse>, ClientError> {
        self.http.get("/v1/scopes").await
    }

    /// What became of the last reload.
    pub async fn configuration(&self) -> Result<ReloadStatus, ClientError> {
        self.http.get("/v1/configuration").await
    }

    /// The interfaces served, and the DHCP servers there that are not ours.
    pub async fn links(&self) -> Result<Page<Link>, ClientError> {
        self.http.get("/v1/links").await
    }

    /// Events after `since`, waiting up to `wait` (at most 30 s) for the first.
    pub async fn events(&self, since: u64, wait: Duration) -> Result<EventPage, ClientError> {
        events::page(&self.http, since, wait).await
    }

    /// A page of those events that the query asks for.
    pub async fn events_of(&self, query: &EventQuery) -> Result<EventPage, ClientError> {
        events::page_of(&self.http, query).await
    }

    /// A stream of those events that the query asks for.
    pub async fn event_stream(&self, query: &EventQuery) -> Result<EventStream, ClientError> {
        events::stream(&self.http, query).await
    }

    /// `/readyz`: whether it serves, and if not, why.
    pub async fn ready(&self) -> Result<(u16, String), ClientError> {
        self.http.text("/readyz").await
    }
}

/// The path of a client's reservation, whose colons and `+` mean nothing there.
fn reservation_of(client: impl Into<ReservedFor>) -> String {
    format!("/v1/reservations/{}", client.into())
}
