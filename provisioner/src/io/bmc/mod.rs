//! One UDP socket for every BMC of the fleet.
