//! Every example file passes its own check.

use std::path::Path;

use reveille_config::Config;
use reveille_config::environment::Imagined;

const SMALL: &str = include_str!("../examples/small.toml");

#[test]
fn the_examples_are_valid() {
    for (name, text) in [("small.toml", SMALL)] {
        let environment = Imagined::with_all_directories();
        if let Err(mistakes) = Config::parse(text, Path::new(name), &environment) {
            panic!("{}", mistakes.iter().map(|mistake| mistake.render(false)).collect::<String>());
        }
    }
}

#[test]
fn what_is_printed_parses_to_the_same() {
    let environment = Imagined::with_all_directories();
    let config = Config::parse(SMALL, Path::new("small.toml"), &environment).unwrap();
    let printed = config.to_toml();
    assert_eq!(Config::parse(&printed, Path::new("printed.toml"), &environment).unwrap(), config, "{printed}");
    assert!(printed.contains("lease_secs = 3600 # default"), "{printed}");
}
