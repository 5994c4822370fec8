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
