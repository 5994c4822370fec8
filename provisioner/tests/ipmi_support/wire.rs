//! A wire between us and a BMC that loses, repeats, delays and damages datagrams as a test says.
