//! The lease API held against its own description by schemathesis, which makes requests of `/v1/openapi.json`, good and bad ones, and judges the answers: no status but those
//! that are told, no body but of its schema, nothing wrong accepted, nothing right refused, nobody let in without a token, and no 500.
//!
//! The requests are the same every time (`--seed`). `make matrix` installs schemathesis.

use std::path::Path;

use reveille_config::dto::token::Role;
use reveille_lab::{Deadline, DhcpServer, Product, Run, Served, TwoNetworks};

/// Where the server listens, in a namespace of its own.
const ADDRESS: &str = "127.0.0.1:7671";

#[test]
fn every_answer_is_one_that_the_description_tells_of() {
    let reveille = Path::new(env!("CARGO_BIN_EXE_reveille"));
    let program = reveille.ancestors().nth(2).expect("target/debug/reveille").join("schemathesis/bin/schemathesis");
    assert!(program.exists(), "no {}: `make matrix` installs it", program.display());
    let run = Run::start().expect("a lab: root and the lab's packages are needed");
    let networks = TwoNetworks::create(&run).expect("two networks");
    let mut served = Served::two_networks();
    served.api.push(ADDRESS.into());
    let server = DhcpServer::start(&run, networks.host(), Product::Reveille(reveille.into()), &served).expect("dhcpd");
    let socket = format!("unix:{}", run.dir().join("dhcpd.sock").display());
    let create = networks.host().program(reveille.display().to_string());
    let create = create.args(["token", "create", "schemathesis", "--role", Role::Admin.as_str(), "--api", &socket]);
    let token = create.succeed(Deadline::secs(30)).expect("a token");

    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/matrix/openapi/schemathesis.toml");
    let schemathesis = networks.host().program(program.display().to_string());
    let schemathesis = schemathesis.arg("--config-file").arg(settings);
    let schemathesis = schemathesis.args(["run", &format!("http://{ADDRESS}/v1/openapi.json"), "--no-color"]);
    let schemathesis = schemathesis.env("REVEILLE_TOKEN", token.trim());
    // It would revoke its own token.
    let schemathesis = schemathesis.args(["--exclude-operation-id", "revoke_token"]);
    let schemathesis = schemathesis.args(["--seed", "1", "--max-examples", "40", "--request-timeout", "30"]);
    // What it remembers and reports stays in the lab's directory.
    let schemathesis = schemathesis.env("HYPOTHESIS_STORAGE_DIRECTORY", run.dir().join("hypothesis"));
    let schemathesis = schemathesis.args(["--generation-database", ":memory:"]);
    let output = schemathesis.output(Deadline::secs(600)).expect("schemathesis ends");
    assert!(output.status.success(), "{}\n{}\ndhcpd: {}", output.stdout, output.stderr, server.log_tail());
    let ready = server.ask(server.api().scopes());
    assert!(ready.is_ok(), "it still serves: {ready:?}");
}
