//! Load generators and the side-by-side comparison with peers.
