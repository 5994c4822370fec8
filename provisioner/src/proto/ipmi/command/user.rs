//! Set User Password (22.30).

use super::{Command, Nonsense, netfn};
use crate::proto::ipmi::Password;

/// Gives a user, by number, another password, or tries whether this is it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetUserPassword {
    /// 1–63; 1 is the nameless user.
    pub user_id: u8,
    /// The password, stored as one of 20 octets.
    pub password: Password,
    /// Change nothing: a refusal (80h) says that the user has another one.
    pub only_test: bool,
}

impl Command for SetUserPassword {
    const NAME: &'static str = "Set User Password";
    const NETFN: u8 = netfn::APP;
    const COMMAND: u8 = 0x47;
    type Answer = ();

    fn encode(&self) -> Vec<u8> {
        let mut data = vec![0x80 | self.user_id & 0x3f, if self.only_test { 3 } else { 2 }];
        data.extend_from_slice(self.password.key());
        data
    }

    fn decode(_data: &[u8]) -> Result<(), Nonsense> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_goes_out_as_twenty_octets() {
        let password = Password::new("new").unwrap();
        let data = SetUserPassword { user_id: 2, password, only_test: false }.encode();
        assert_eq!((data.len(), &data[..6]), (22, &[0x82, 2, b'n', b'e', b'w', 0][..]));
        let password = Password::new("tell-no-one").unwrap();
        let request = SetUserPassword { user_id: 2, password, only_test: true }.request();
        let text = format!("{request:?}");
        assert!(text.contains("Set User Password") && !text.contains("116"), "{text}");
    }
}
