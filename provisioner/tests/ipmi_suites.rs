//! Cipher suites, K_g, GUIDs, privileges, bridging and idle sessions, stepped through with the simulator's BMC as a value.

mod ipmi_support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ipmi_support::step::{control, status};
use reveille_bmc_simulator::{Bmc, Personality, Suite};
use reveille_provisioner::proto::ipmi::command::PowerAction;
use reveille_provisioner::proto::ipmi::{
    CipherSuite, Client, Credentials, Event, Failure, Idle, Kg, Known, Password, Privilege, RANDOM_BYTES, Request,
    Suites, Timing, User,
};

/// Client and BMC in one hand. Datagrams for which `spoil` is set are changed on their way back.
struct Talk {
    client: Client,
    bmc: Bmc,
    now: Instant,
    sent: usize,
    spoil: Option<fn(&mut Vec<u8>)>,
}

fn credentials() -> Credentials {
    Credentials::new(User::new("admin").unwrap(), Password::new("secret").unwrap(), Privilege::Administrator)
}

fn personality(suites: &[Suite]) -> Personality {
    Personality { suites: suites.to_vec(), ..Personality::default() }
}

impl Talk {
    fn new(credentials: Credentials, personality: Personality) -> Self {
        let client = Client::new(credentials, Timing::default());
        Self { client, bmc: Bmc::new(Arc::new(personality), 1), now: Instant::now(), sent: 0, spoil: None }
    }

    /// Goes on until the client waits for something later than `until`; what happened.
    fn run(&mut self, until: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let mut out = Vec::new();
            while self.client.poll_transmit(self.now, &[self.sent as u8 + 1; RANDOM_BYTES], &mut out).is_some() {
                self.sent += 1;
                if let Some(mut answer) = self.bmc.handle(self.now, &out) {
                    if let Some(spoil) = self.spoil {
                        spoil(&mut answer);
                    }
                    let _ = self.client.handle_datagram(self.now, &answer);
                }
            }
            events.extend(std::iter::from_fn(|| self.client.poll_event()));
            let Some(due) = self.client.poll_timeout().filter(|due| *due <= until) else { return events };
            self.now = self.now.max(due);
            self.client.handle_timeout(self.now);
        }
    }

    fn command(&mut self, request: Request) -> Result<Vec<u8>, Failure> {
        assert!(self.client.start(self.now, request));
        loop {
            let until = if self.client.is_busy() { self.client.poll_timeout().unwrap() } else { self.now };
            let ended = self.run(until).into_iter().find_map(|event| match event {
                Event::Opened | Event::Sol(_) => None,
                Event::Done(data) => Some(Ok(data)),
                Event::Failed(failure) => Some(Err(failure)),
            });
            if let Some(ended) = ended {
                return ended;
            }
        }
    }

    fn error(&mut self, request: Request) -> String {
        self.command(request).unwrap_err().to_string()
    }
}

#[test]
fn the_best_suite_is_found_and_spoken() {
    let zero = Credentials { suites: Suites::allowing_zero(false), ..credentials() };
    let cases: [(Credentials, &[Suite], Option<CipherSuite>); 6] = [
        (credentials(), &[Suite::Three, Suite::Seventeen], Some(CipherSuite::Seventeen)),
        (credentials(), &[Suite::Zero, Suite::Three], Some(CipherSuite::Three)),
        (credentials(), &[Suite::Zero], None),
        (zero.clone(), &[Suite::Zero], Some(CipherSuite::Zero)),
        (zero.clone(), &[Suite::Zero, Suite::Three], Some(CipherSuite::Three)),
        (zero, &[Suite::Seventeen, Suite::Zero, Suite::Three], Some(CipherSuite::Seventeen)),
    ];
    for (credentials, offered, spoken) in cases {
        let mut talk = Talk::new(credentials, personality(offered));
        match spoken {
            Some(suite) => {
                talk.command(control(PowerAction::On)).unwrap();
                assert_eq!(talk.command(status()).unwrap()[0] & 1, 1, "{offered:?}");
                assert_eq!(talk.client.known().suite, Some(suite), "{offered:?}");
                assert_eq!((talk.bmc.counts.opened, talk.bmc.counts.ignored), (1, 0));
            }
            None => assert_eq!(
                talk.error(status()),
                "the BMC offers the cipher suites [0], none of which may be spoken with it, \
                 says its answer to Get Channel Cipher Suites after 0.0 s"
            ),
        }
    }
}

#[test]
fn a_bmc_that_does_not_list_its_suites_is_spoken_to_in_suite_3() {
    let mut talk = Talk::new(credentials(), Personality { lists_suites: false, ..personality(&[Suite::Three]) });
    talk.command(status()).unwrap();
    assert_eq!(talk.client.known().suite, Some(CipherSuite::Three));
    // What is known is not asked again, and carries over to the next conversation.
    let known = talk.client.known();
    talk.bmc.restart();
    (talk.client, talk.sent) = (Client::new(credentials(), Timing::default()).with_known(known), 0);
    talk.command(status()).unwrap();
    assert_eq!(talk.sent, 5, "open, two of RAKP, privilege, command");
}

#[test]
fn a_pinned_suite_is_refused_by_who_does_not_speak_it() {
    let pinned = Credentials { suites: Suites::only(CipherSuite::Seventeen).unwrap(), ..credentials() };
    let mut talk = Talk::new(pinned, personality(&[Suite::Three]));
    assert_eq!(talk.error(status()), "Open Session refused after 0.0 s: status 0x11, cipher suite refused");
}

#[test]
fn session_keys_are_made_from_kg() {
    let kg = |text: &str| Some(Kg::new(text).unwrap());
    let set = Personality { kg: Some(*kg("twenty octets of key").unwrap().key()), ..Personality::default() };
    let mut talk = Talk::new(Credentials { kg: kg("twenty octets of key"), ..credentials() }, set.clone());
    talk.command(status()).unwrap();
    let text = "RAKP 4 check value does not match, 0.0 s after RAKP 3: ";
    let cases = [
        (kg("another"), set.clone(), "the K_g configured here is not the BMC's"),
        (None, set, "the BMC has a K_g, and none is configured here"),
        (kg("another"), Personality::default(), "the K_g configured here is not the BMC's"),
    ];
    for (kg, personality, why) in cases {
        let mut talk = Talk::new(Credentials { kg, ..credentials() }, personality);
        assert_eq!(talk.error(status()), format!("{text}{why}"));
    }
}

#[test]
fn another_guid_under_the_same_address_is_refused() {
    let mut talk = Talk::new(credentials(), Personality::default());
    talk.command(status()).unwrap();
    let was = talk.client.known().guid.unwrap();
    talk.bmc = Bmc::new(Arc::new(Personality::default()), 2);
    let text = talk.error(control(PowerAction::Off));
    assert!(text.starts_with(&format!("the BMC's GUID was {was} and now is ")), "{text}");
    assert!(text.ends_with("says its answer to RAKP 1 after 0.0 s: is it another machine?"), "{text}");
    talk.run(talk.now);
    assert_eq!((talk.bmc.counts.opened, talk.bmc.counts.commands), (0, 0), "nothing was done to it");
    // Nobody's GUID proves nothing.
    talk.bmc.guid = [0; 16];
    talk.command(status()).unwrap();
    // Whoever forgets the old one accepts the new one.
    let known = Known { guid: None, ..talk.client.known() };
    talk.bmc = Bmc::new(Arc::new(Personality::default()), 2);
    talk.client = Client::new(credentials(), Timing::default()).with_known(known);
    talk.command(status()).unwrap();
}

#[test]
fn a_privilege_that_is_too_low_says_so_at_its_step() {
    let as_level = |privilege| Credentials { privilege, ..credentials() };
    let limited = Personality { privilege_max: 3, ..Personality::default() };
    let mut talk = Talk::new(as_level(Privilege::Administrator), limited);
    let text = "RAKP 1 refused after 0.0 s: status 0x0a, the user may not have the privilege asked for";
    assert_eq!(talk.error(status()), text);

    let mut talk = Talk::new(as_level(Privilege::User), Personality::default());
    talk.command(status()).unwrap();
    let text =
        "Chassis Control failed after 0.0 s: completion code 0xd4, privilege level too low (it was asked for as user)";
    assert_eq!(talk.error(control(PowerAction::On)), text);
    assert_eq!(talk.bmc.counts.opened, 1, "the session goes on");
    talk.command(status()).unwrap();
}

#[test]
fn silence_that_was_none_says_what_came_instead() {
    type Spoil = fn(&mut Vec<u8>);
    let cases: [(&str, Spoil); 4] = [
        ("the last datagram was cut short", |datagram| datagram.truncate(datagram.len() - 20)),
        ("the last datagram was wrongly signed", |datagram| *datagram.last_mut().unwrap() ^= 1),
        ("the last datagram was of another session", |datagram| datagram[6] ^= 1),
        ("the last datagram was not signed", |datagram| datagram[5] &= !0x40),
    ];
    for (words, spoil) in cases {
        let mut talk = Talk::new(credentials(), Personality::default());
        talk.command(status()).unwrap();
        talk.spoil = Some(spoil);
        let text = talk.error(control(PowerAction::Cycle));
        assert_eq!(text, format!("no answer to Chassis Control after 3 tries in 8.0 s; {words}"));
    }
}

#[test]
fn an_unused_session_is_given_back_or_kept() {
    let timing = |idle| Timing { idle, ..Timing::default() };
    let mut talk = Talk::new(credentials(), Personality::default());
    talk.client = Client::new(credentials(), timing(Idle::CloseAfter(Duration::from_secs(2))));
    talk.command(status()).unwrap();
    talk.run(talk.now + Duration::from_secs(3));
    assert_eq!((talk.bmc.open_sessions(), talk.bmc.counts.closed), (0, 1));

    talk.client = Client::new(credentials(), timing(Idle::KeepAliveEvery(Duration::from_secs(45))));
    talk.command(status()).unwrap();
    let opened = talk.bmc.counts.opened;
    talk.run(talk.now + Duration::from_secs(600));
    talk.command(status()).unwrap();
    assert_eq!(
        (talk.bmc.open_sessions(), talk.bmc.counts.opened),
        (1, opened),
        "ten minutes later it is the same session"
    );

    // A command that comes while the session is being kept alive waits for that, and is carried out once.
    talk.now += Duration::from_secs(46);
    talk.client.handle_timeout(talk.now);
    talk.command(control(PowerAction::On)).unwrap();
    assert_eq!((talk.bmc.counts.controls, talk.bmc.counts.opened), (1, opened));

    // Who wants it closed meanwhile does not leave it to the BMC.
    talk.now += Duration::from_secs(46);
    talk.client.handle_timeout(talk.now);
    assert!(talk.client.close(talk.now), "what keeps it alive is no use");
    talk.run(talk.now + Duration::from_secs(1));
    assert_eq!((talk.bmc.open_sessions(), talk.client.has_session()), (0, false));
    talk.command(status()).unwrap();
    assert_eq!(talk.bmc.counts.opened, opened + 1);

    // A BMC that was restarted meanwhile costs nothing but a new session.
    talk.bmc.restart();
    talk.run(talk.now + Duration::from_secs(120));
    assert!(!talk.client.has_session());
    talk.command(status()).unwrap();
    assert_eq!(talk.bmc.counts.opened, opened + 2);
}

#[test]
fn sessions_exhausted_is_an_error_in_words() {
    let mut talk = Talk::new(credentials(), Personality { slots: 1, ..Personality::default() });
    talk.command(status()).unwrap();
    talk.client = Client::new(credentials(), Timing::default());
    assert_eq!(talk.error(status()), "Open Session refused after 0.0 s: status 0x01, no session slot free on the BMC");
    // The BMC drops what it has not heard of for a minute.
    talk.now += Duration::from_secs(61);
    talk.command(status()).unwrap();
}
