//! Why dhcpd did what it did, as data: counted in metrics, carried by events, shown to people (DESIGN.md, rule 5).
//!
//! The words of `as_str` are label values of metrics and part of the API: they may be added to, not changed.

/// Makes an enum of reasons with a fixed word and a sentence each.
macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal, $text:literal;)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// Every reason there is, in order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The fixed word: a metric's label, an event's detail.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The same for people.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.text())
            }
        }
    };
}

reasons! {
    /// Why a packet was not answered.
    DropReason {
        /// Shorter than the fixed fields and the magic cookie.
        Truncated = "truncated", "the packet is shorter than a DHCP message, or, without a message type, than a BOOTP message";
        /// `op` is not BOOTREQUEST.
        NotARequest = "not-a-request", "the packet is a reply, not a request";
        /// `htype`/`hlen` other than Ethernet's.
        HardwareType = "hardware-type", "the hardware type is not Ethernet";
        /// `chaddr` is zero or a group address.
        HardwareAddress = "hardware-address", "the hardware address is no single machine's";
        /// The magic cookie is missing.
        Cookie = "cookie", "the magic cookie is missing";
        /// The message type is not among the options that could be read.
        OptionTruncated = "option-truncated", "an option runs past the end of the packet, and the message type is not before it";
        /// No option 53, and the scope serves no BOOTP clients.
        NotDhcp = "not-dhcp", "there is no message type (plain BOOTP is not served)";
        /// Option 53 has a value that is no message type of a client.
        MessageType = "message-type", "the message type is none that a server answers";
        /// No scope for this link or relay.
        NoScope = "no-scope", "no scope serves this link or relay";
        /// A static scope does not know the machine.
        UnknownMachine = "unknown-machine", "the machine is not known in this static scope";
        /// The message is meant for another server.
        OtherServer = "other-server", "the client chose another server";
        /// A message without the address it is about.
        NoAddress = "no-address", "the message names no address";
        /// The client asks for a binding of which there is no record.
        NoRecord = "no-record", "there is no record of this client's binding";
        /// RELEASE or DECLINE of an address that is not the client's.
        NotTheClients = "not-the-clients", "the address is not this client's";
        /// DHCPINFORM from outside the scope's subnet.
        OutsideSubnet = "outside-subnet", "the client's address is outside the scope's subnet";
        /// No address is left.
        PoolExhausted = "pool-exhausted", "no address is left in the scope's pools";
        /// The clients behind a port hold as many addresses as they may.
        PortShare = "port-share", "the port that the client is behind has its share of the addresses";
        /// The reserved address is in use by somebody else, or in quarantine.
        ReservationUnavailable = "reservation-unavailable", "the reserved address is in use or in quarantine";
        /// The journal cannot write now.
        JournalRefusing = "journal-refusing", "the journal cannot write, so nothing new is promised";
        /// The promise was void before it was durable.
        PromiseVoid = "promise-void", "the journal could not make the promise durable";
        /// The queue of the worker that owns the client is full.
        QueueFull = "queue-full", "the owning worker's queue is full";
        /// Another worker, which sees the same broadcast, owns the client.
        OtherWorker = "other-worker", "another worker owns this client and saw the same packet";
        /// The same message came twice, and the first is still being answered.
        Duplicate = "duplicate", "the same message is being answered already";
        /// DHCPLEASEQUERY from somebody who may not ask.
        NotARequestor = "not-a-requestor", "the lease query is from nobody who may ask";
        /// DHCPLEASEQUERY that asks for nothing, or for two things at once.
        MalformedQuery = "malformed-query", "the lease query names no single address, machine or client";
        /// More lease queries wait for the read model than may.
        QueriesFull = "queries-full", "too many lease queries wait for what is read of leases to catch up with the disk";
        /// The read model did not catch up while a lease query waited.
        QueryTimeout = "query-timeout", "what is read of leases did not catch up with the disk in time for the lease query";
        /// More DHCPDISCOVERs wait than can be answered in time; the clients ask again.
        Overloaded = "overloaded", "the server is overloaded; those who chose it are served first";
        /// Too many addresses are being checked; the client asks again.
        ConflictChecksFull = "conflict-checks-full", "too many addresses are being checked for a conflict at the same time";
        /// One address after the other was found in use.
        ConflictTries = "conflict-tries", "too many addresses in a row were found in use by others";
        /// Our own search for foreign servers, of this node or another.
        ServerProbe = "server-probe", "it is our own search for foreign DHCP servers";
        /// A client asks more often than it may.
        ClientRate = "client-rate", "the client asks more often than it may";
        /// More comes through a relay than may.
        RelayRate = "relay-rate", "more comes through the relay than may";
        /// A proxy scope has nothing for this client.
        NothingToBoot = "nothing-to-boot", "it is no boot client, or there is no boot file for it";
        /// The reply could not be sent.
        SendFailed = "send-failed", "the reply could not be sent";
    }
}

reasons! {
    /// What was wrong with a packet that was looked at all the same: a bad option does not take a good message down.
    Fault {
        /// The last option of a field runs past its end; those before it count.
        OptionTruncated = "option-truncated", "the last option runs past the end of its field";
        /// An option given in parts is longer than the parser keeps; it counts as missing.
        OptionTooLong = "option-too-long", "a split option exceeds the limit";
        /// Option 52 has a value other than 1, 2 and 3.
        Overload = "overload", "the option overload has a value that means nothing";
        /// Option 82 is not a sequence of whole sub-options; those before the bad one count, and it is echoed as it came.
        RelayAgent = "relay-agent", "the relay agent information is malformed";
        /// Option 82 is too long to be echoed, and is left out of the reply.
        RelayAgentTooLong = "relay-agent-too-long", "the relay agent information is too long to be returned";
        /// RELEASE or DECLINE without option 54.
        NoServerId = "no-server-id", "the message does not say which server it is for";
        /// REQUEST with neither option 50 nor `ciaddr`.
        NoAddressNamed = "no-address-named", "the request names no address";
        /// DISCOVER with a `ciaddr`, which is not looked at.
        StrayCiaddr = "stray-ciaddr", "a client that looks for a server already fills in ciaddr";
    }
}

/// The faults of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults(u8);

impl Faults {
    /// Adds one.
    pub const fn insert(&mut self, fault: Fault) {
        self.0 |= 1 << fault as u8;
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each, in order of declaration.
    pub fn iter(self) -> impl Iterator<Item = Fault> {
        Fault::ALL.iter().copied().filter(move |&fault| self.0 & (1 << fault as u8) != 0)
    }
}

reasons! {
    /// Why a DHCPNAK was sent.
    NakReason {
        /// The address does not belong on this link.
        WrongNetwork = "wrong-network", "the address is on another network";
        /// The client's record says another address.
        NotTheClients = "not-the-clients", "the address is not this client's";
        /// The reservation says another address.
        Reserved = "reserved", "another address is reserved for this client";
        /// Somebody else holds it.
        Taken = "taken", "the address is in use by another client";
        /// It is no longer in any pool.
        NotInPool = "not-in-pool", "the address is not handed out here";
    }
}

reasons! {
    /// Which rule chose an address, or the content of an ACK.
    ChosenBy {
        /// A reservation.
        Reservation = "reservation", "reserved for this machine";
        /// The client's current or last binding.
        Binding = "binding", "the client's own binding";
        /// The offer held for the client.
        Offer = "offer", "offered to this client before";
        /// Option 50.
        Requested = "requested", "asked for by the client";
        /// The first free one from the client's hash.
        Pool = "pool", "free in a pool";
        /// Taken from the client whose lease expired longest ago.
        Reclaimed = "reclaimed", "reclaimed from the lease expired longest ago";
        /// The record on disk already promises it.
        OnDisk = "on-disk", "already promised on disk";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_unique() {
        let words: std::collections::HashSet<_> = DropReason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(words.len(), DropReason::ALL.len());
        let words: std::collections::HashSet<_> = Fault::ALL.iter().map(|fault| fault.as_str()).collect();
        assert_eq!(words.len(), Fault::ALL.len());
    }

    #[test]
    fn faults_are_a_set_that_holds_every_one() {
        assert!(Fault::ALL.len() <= 8, "they have their bit each");
        let mut faults = Faults::default();
        assert!(faults.is_empty());
        Fault::ALL.iter().for_each(|&fault| faults.insert(fault));
        assert_eq!(faults.iter().collect::<Vec<_>>(), Fault::ALL);
    }
}
