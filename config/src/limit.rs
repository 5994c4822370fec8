//! Every limit that more than one place must know (DESIGN.md, rule 4). Names end in their unit.

/// Worker threads of dhcpd.
pub const DHCPD_WORKERS_MAX: usize = 64;
/// Unknown machines remembered per static scope; the one seen longest ago makes room.
pub const SIGHTINGS_MAX: usize = 4_096;
/// Events kept for `GET /v1/events`; a reader that lags further is told from where it lost.
pub const EVENTS_MAX: usize = 16_384;
/// Durable events that dhcpd keeps in memory and in snapshots; a reader that lags further is told from where to where it lost.
pub const DURABLE_EVENTS_MAX: usize = 131_072;
/// Web hooks of one daemon.
pub const WEBHOOKS_MAX: usize = 16;
/// Streams of `GET /v1/events` that one daemon has open; one more is answered 503.
pub const EVENT_STREAMS_MAX: usize = 512;
/// Octets, about, that wait for one reader of a stream, twice: what more there is stays where all readers share it.
pub const EVENT_CHUNK_BYTES: usize = 32 << 10;
/// Entries of one page of a listing.
pub const PAGE_MAX: usize = 1_000;
/// Octets of a request body on the APIs, batches aside.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Nodes of one provisioner; one more is refused. As many as bootd keeps boot intents.
pub const NODES_MAX: usize = 100_000;
/// Ports of one node; one more is refused.
pub const PORTS_PER_NODE_MAX: usize = 64;
/// Replies of one worker that wait for their `reply_delay_millis`; one more leaves at once.
pub const DELAYED_REPLIES_MAX: usize = 4_096;
/// Boot intents that bootd keeps.
pub const INTENTS_MAX: usize = 100_000;
/// Octets of one option's value; above 255 it goes out in parts (RFC 3396).
pub const OPTION_BYTES_MAX: usize = 1_024;
/// Octets of a boot file's URL: what one option holds.
pub const BOOT_URL_BYTES_MAX: usize = 255;
/// Seconds that a long poll of `GET /v1/events` may wait.
pub const EVENTS_WAIT_SECS_MAX: u64 = 30;
/// Octets of one journal record's payload.
pub const JOURNAL_PAYLOAD_BYTES_MAX: usize = 4_096;
/// Octets of records that may wait for one journal commit; an append beyond it is refused.
pub const JOURNAL_RING_BYTES_MAX: usize = 4 << 20;
/// Retired journal segments kept for reuse; more are deleted.
pub const JOURNAL_SPARES_MAX: usize = 2;
/// Octets of the configuration file.
pub const CONFIG_BYTES_MAX: usize = 16 << 20;
/// Mistakes reported of one configuration file; the last one then says that there are more.
pub const MISTAKES_MAX: usize = 500;
/// Characters of a line that a mistake shows.
pub const EXCERPT_CHARS_MAX: usize = 240;
/// Octets of a file or variable that holds a secret.
pub const SECRET_BYTES_MAX: usize = 4_096;
/// Addresses in the pools of one scope: memory for their state is taken at start.
pub const SCOPE_ADDRESSES_MAX: u64 = 1 << 22;
/// Pools of one scope.
pub const POOLS_MAX: usize = 64;
/// Scopes of one dhcpd.
pub const SCOPES_MAX: usize = 1_024;
/// Addresses, directories or networks in one list of the configuration file.
pub const LIST_ITEMS_MAX: usize = 64;
/// Octets of a scope's name.
pub const SCOPE_NAME_BYTES_MAX: usize = 64;
/// Octets of a boot file's name: the `file` field of RFC 2131 §2 holds 128 with the closing zero.
pub const BOOT_FILE_BYTES_MAX: usize = 127;
/// Classes of one dhcpd.
pub const CLASSES_MAX: usize = 16_384;
/// Conditions within conditions (`all`, `any`, `not`) of one class.
pub const CONDITION_DEPTH_MAX: usize = 8;
/// Options that a configuration defines.
pub const OPTION_DEFINITIONS_MAX: usize = 256;
/// Boot profiles of one dhcpd.
pub const BOOT_PROFILES_MAX: usize = 1_024;
/// How long a reply may be held back, milliseconds.
pub const REPLY_DELAY_MILLIS_MAX: u16 = 5_000;
/// BMCs that one socket talks to at a time, sessions kept for the next command included; a command for one more is refused.
pub const BMC_SESSIONS_MAX: usize = 16_384;
/// BMCs that a command is under way to at a time, silent ones not counted; the next one waits.
pub const BMC_BUSY_MAX: usize = 1_024;
/// BMCs of which is remembered what they were found to be (cipher suite, GUID, pace); one more makes one be forgotten.
pub const BMC_KNOWN_MAX: usize = 100_000;
/// Records of one BMC's sensors or event log that are read; the rest is left out.
pub const BMC_RECORDS_MAX: usize = 16_384;
/// Commands that wait for the same BMC; one more is refused.
pub const BMC_QUEUE_MAX: usize = 16;
/// Processes of ipmitool at a time; the next command waits.
pub const IPMITOOL_PROCESSES_MAX: usize = 32;
/// Redfish services that are talked to at a time; the next waits.
pub const REDFISH_BUSY_MAX: usize = 256;
/// BMCs that report changes by themselves over a stream each; further ones are looked at in their turn only.
pub const BMC_STREAMS_MAX: usize = 4_096;
/// Redfish services of which a session, the system, and whether they have sessions is remembered; one more makes one be forgotten.
pub const REDFISH_KNOWN_MAX: usize = 100_000;
/// Octets typed at a machine's console that wait for its BMC; more are not taken.
pub const CONSOLE_INPUT_BYTES_MAX: usize = 4_096;
/// Commands on their way from their callers to the BMC socket; one more waits.
pub const BMC_COMMANDS_MAX: usize = 1_024;
/// Requests that wait for one worker of dhcpd; one more is refused (the API) or dropped (a packet handed over).
pub const WORKER_QUEUE_MAX: usize = 4_096;
/// Lease queries of one worker that wait until what they are answered from has caught up with the disk; one more is dropped.
pub const LEASE_QUERIES_WAITING_MAX: usize = 1_024;
/// Milliseconds that a lease query waits for that; its requestor then asks again.
pub const LEASE_QUERY_WAIT_MILLIS: u64 = 1_000;
/// Unknown machines newly recorded per second, over all static scopes; more are seen again later.
pub const SIGHTINGS_PER_SEC_MAX: usize = 64;
/// Foreign DHCP servers remembered; the one not seen for longest makes room.
pub const FOREIGN_SERVERS_MAX: usize = 64;
/// Packets of one client per second, unless configured otherwise: a machine that boots sends a few.
pub const CLIENT_PACKETS_PER_SEC: u32 = 50;
/// Packets through one relay per second and worker, unless configured otherwise: a region's worth of machines.
pub const RELAY_PACKETS_PER_SEC: u32 = 100_000;
/// Clients whose rate one worker watches; two that fall on the same place share it.
pub const WATCHED_CLIENTS_MAX: usize = 16_384;
/// Relays whose rate one worker watches.
pub const WATCHED_RELAYS_MAX: usize = 1_024;
/// Ports of relays whose clients' addresses are counted, where `port_share_percent` limits them; one more is not limited.
pub const COUNTED_PORTS_MAX: usize = 65_536;
/// Milliseconds that an offer may wait for the check of its address.
pub const CONFLICT_WAIT_MILLIS_MAX: u32 = 5_000;
/// Addresses that are being checked at a time, over all workers; a DISCOVER for one more is not answered, and its client asks again.
pub const CONFLICT_CHECKS_MAX: usize = 4_096;
/// Addresses found free that are remembered, over all workers; one more takes the place of another, which is then checked again.
pub const CONFLICT_RESULTS_MAX: usize = 65_536;
/// Addresses that one packet may find in use, one after the other, before its client has to ask again.
pub const CONFLICT_TRIES_MAX: u8 = 8;
/// Threads that serve one TFTP address.
pub const TFTP_WORKERS_MAX: usize = 64;
/// TFTP transfers of one address under way at a time, divided among its threads, requests whose file is being opened included; one more is refused with an ERROR.
pub const TFTP_TRANSFERS_MAX: usize = 32_768;
/// Files that machines write into the drop-box at a time, for some seconds after their ends too; one more is refused with an ERROR.
pub const DROPBOX_WRITES_MAX: usize = 64;
/// Files that the drop-box holds; one more is refused until some are taken out.
pub const DROPBOX_FILES_MAX: usize = 10_000;
/// Connections of machines to bootd's HTTP server; one more is answered 503 and closed.
pub const HTTP_CONNECTIONS_MAX: usize = 16_384;
/// Connections to one listener of the lease API, long polls included; one more is answered 503 and closed.
pub const LEASE_API_CONNECTIONS_MAX: usize = 4_096;
/// Connections to bootd's own API; one more is answered 503 and closed.
pub const API_CONNECTIONS_MAX: usize = 256;
/// Clients of the lease API whose certificates have a role by name.
pub const API_CLIENTS_MAX: usize = 1_024;
/// Changes of leases, renewals aside, that `GET /v1/history` remembers; the oldest makes room.
pub const LEASE_HISTORY_MAX: usize = 65_536;
/// Leases that one page of a filtered listing looks at; the page then ends, and its cursor goes on.
pub const LEASES_LOOKED_AT_MAX: usize = 20_000;
/// Rows of one batch of reservations; a longer one is refused.
pub const BATCH_ROWS_MAX: usize = 100_000;
/// Octets of the body of a batch.
pub const BATCH_BYTES_MAX: usize = 64 << 20;
/// Exports of leases that are read at a time; one more is answered 503.
pub const EXPORTS_MAX: usize = 64;
/// Octets of one row of a batch.
pub const BATCH_ROW_BYTES_MAX: usize = 64 << 10;
/// Octets that a batch counts for at least, of those that come in at a time: so there are not too many small ones.
pub const BATCH_BYTES_COUNTED_MIN: usize = 4 << 20;
/// Octets of batches that are on their way into memory at a time; one more waits, and is answered 503 if that takes long.
pub const BATCHES_BYTES_MAX: usize = 2 * BATCH_BYTES_MAX;
/// Octets of other bodies of the lease API that are in memory at a time; beyond it a request is answered 503.
pub const BODIES_BYTES_MAX: usize = 64 << 20;
/// Mistakes of a refused batch that its answer lists.
pub const BATCH_MISTAKES_MAX: usize = 100;
/// Labels of one reservation.
pub const LABELS_MAX: usize = 64;
/// Octets of a label's name, and of its value.
pub const LABEL_BYTES_MAX: usize = 255;
/// Tokens of the lease API; one more is refused until one is revoked.
pub const TOKENS_MAX: usize = 1_024;
/// Requests under way on one HTTP/2 connection to the lease API; more wait.
pub const LEASE_API_STREAMS_MAX: u32 = 128;
/// Octets of a group's name.
pub const SOCKET_GROUP_BYTES_MAX: usize = 32;
/// Files of the upstream that bootd fetches at a time; one more is answered 502.
pub const UPSTREAM_FETCHES_MAX: usize = 64;
/// Ended transfers that bootd still lists.
pub const TRANSFERS_ENDED_MAX: usize = 1_024;
/// Addresses of which bootd remembers the machine; beyond it all are forgotten and learnt again.
pub const MACHINES_MAX: usize = 100_000;
/// Changes of boot intents that wait for the disk; one more is refused.
pub const INTENT_QUEUE_MAX: usize = 1_024;
