//! [`Templates`]: operators' own scripts, by profile and language.
//!
//! minijinja renders them: a maintained engine whose every printed value passes a formatter of ours, so that escaping is not the template's to forget; a variable that
//! does not exist is an error. A template is tried on samples when it is read, so that what is wrong with it is told then and not by a machine that does not boot. What
//! is built in needs no engine and stays quicker.

use std::collections::HashMap;

use minijinja::value::Value;
use minijinja::{Environment, UndefinedBehavior, context};
use reveille_config::MacAddr;
use reveille_config::dto::bootd::{BootAction, Intent, IntentPut};

use super::language::Language;

/// Steps of one rendering; a template that loops for ever ends there.
const STEPS_MAX: u64 = 50_000;

/// The templates in force.
#[derive(Debug, Default)]
pub struct Templates {
    /// An environment for each language: its formatter is the language's.
    environments: HashMap<Language, Environment<'static>>,
    profiles: Vec<String>,
}

/// A template cannot be used, or not for this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the template {name}: {why}")]
pub struct TemplateError {
    name: String,
    why: String,
}

/// What a template is told of a machine: `mac` (empty for an unknown one), `node`, `uuid`, `hostname`, `action` (`kernel`, `script` or `disk`), `kernel`, `initrd`, `cmdline` and
/// `script` (empty where the action has none; as the language writes them), `url` (what bootd is reached by).
fn facts(language: Language, intent: &Intent, mac: Option<MacAddr>, public_url: &str) -> Value {
    let file = |location: &str| language.location(public_url, location);
    let (action, kernel, initrd, cmdline, script) = match &intent.action {
        BootAction::Kernel { kernel, initrd, cmdline } => {
            ("kernel", file(kernel), file(initrd), language.cmdline(cmdline, mac), String::new())
        }
        BootAction::Script { script } => ("script", String::new(), String::new(), String::new(), file(script)),
        BootAction::Disk => ("disk", String::new(), String::new(), String::new(), String::new()),
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    context! {
        mac => mac.map(|mac| mac.to_string()).unwrap_or_default(),
        node => text(&intent.node), uuid => text(&intent.uuid), hostname => text(&intent.hostname),
        action, kernel, initrd, cmdline, script, url => public_url,
    }
}

impl Templates {
    /// Takes a template and tries it.
    ///
    /// # Errors
    /// It is none, or names what does not exist; says in which line.
    pub fn add(&mut self, profile: &str, language: Language, source: String) -> Result<(), TemplateError> {
        let name = profile.to_owned();
        let failed = |error: minijinja::Error| describe(profile, language, &error);
        let environment = self.environments.entry(language).or_insert_with(|| environment(language));
        environment.add_template_owned(name.clone(), source).map_err(failed)?;
        if !self.profiles.contains(&name) {
            self.profiles.push(name);
        }
        let kernel = BootAction::Kernel { kernel: "k".into(), initrd: "i".into(), cmdline: "c".into() };
        for action in [kernel, BootAction::Script { script: "s".into() }, BootAction::Disk] {
            let put = IntentPut { profile: Some(profile.into()), ..IntentPut::new(action) };
            self.render(language, &Intent::of(None, put, 0), None, "http://x").transpose()?;
        }
        Ok(())
    }

    /// A profile without a template of its own in some language.
    pub fn add_profile(&mut self, profile: &str) {
        if !self.profiles.iter().any(|own| own == profile) {
            self.profiles.push(profile.to_owned());
        }
    }

    /// Whether there is such a profile.
    pub fn has(&self, profile: &str) -> bool {
        self.profiles.iter().any(|own| own == profile)
    }

    /// The script of an intent by its profile's template; `None` where the profile has none in this language.
    pub fn render(
        &self,
        language: Language,
        intent: &Intent,
        mac: Option<MacAddr>,
        public_url: &str,
    ) -> Option<Result<String, TemplateError>> {
        let profile = intent.profile.as_deref()?;
        let template = self.environments.get(&language)?.get_template(profile).ok()?;
        let text = template.render(facts(language, intent, mac, public_url));
        Some(text.map_err(|error| describe(profile, language, &error)))
    }
}

fn environment(language: Language) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_keep_trailing_newline(true);
    environment.set_fuel(Some(STEPS_MAX));
    environment.set_formatter(move |out, _, value| {
        let text = match value.as_str() {
            Some(text) => language.escape(text),
            None => language.escape(&value.to_string()),
        };
        out.write_str(&text).map_err(minijinja::Error::from)
    });
    environment
}

fn describe(profile: &str, language: Language, error: &minijinja::Error) -> TemplateError {
    let line = error.line().map(|line| format!("line {line}: ")).unwrap_or_default();
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    let why = format!("{line}{}{detail}", error.kind());
    TemplateError { name: format!("{} of the profile {profile}", language.name()), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(hostname: &str) -> Intent {
        let action =
            BootAction::Kernel { kernel: "k 1".into(), initrd: "i".into(), cmdline: "a=b BOOTIF=${mac}".into() };
        let put = IntentPut { hostname: Some(hostname.into()), profile: Some("own".into()), ..IntentPut::new(action) };
        Intent::of(None, put, 0)
    }

    fn render(language: Language, source: &str, intent: &Intent) -> String {
        let mut templates = Templates::default();
        templates.add("own", language, source.into()).unwrap();
        let mac = Some(MacAddr([0x52, 0x54, 0, 0, 0, 1]));
        templates.render(language, intent, mac, "http://x").unwrap().unwrap()
    }

    #[test]
    fn values_are_escaped_whatever_the_template_does() {
        let hostile = "h\nshell || reboot ${x\u{0}} #";
        let source = "#!ipxe\necho {{ hostname }} {{ hostname|safe }} {{ [hostname]|join }}\n\
            {% if action == \"kernel\" %}kernel {{ kernel }} {{ cmdline }} hostname={{ hostname }} || exit 1{% endif %}\n";
        let text = render(Language::Ipxe, source, &intent(hostile));
        assert_eq!(text.lines().count(), 3, "{text}");
        assert_eq!(text.matches("||").count(), 1, "{text}");
        assert!(
            text.contains("kernel http://x/k%201 a=b BOOTIF=${mac} hostname=h_shell _| reboot ${x_} _ || exit 1"),
            "{text}"
        );
        let text =
            render(Language::Grub, "linux {{ kernel }} {{ cmdline }} name={{ hostname }}\n", &intent("a';reboot;'"));
        assert_eq!(text, "linux '/k' '1' 'a=b' 'BOOTIF=52:54:00:00:00:01' name='a'\\'';reboot;'\\'''\n");
        let text = render(Language::Pxelinux, "APPEND {{ cmdline }} {{ hostname }}\n", &intent("x\nKERNEL y"));
        assert_eq!(text, "APPEND a=b BOOTIF=52:54:00:00:00:01 x_KERNEL y\n");
    }

    #[test]
    fn what_is_wrong_with_a_template_is_told_when_it_is_read() {
        for (source, words) in [
            ("ok\n{{ hostnam }}", "line 2: undefined value"),
            ("{% if action %}", "line 1: syntax error"),
            ("{{ kernel|nofilter }}", "unknown filter"),
            ("{% for i in range(1000) %}{% for j in range(1000) %}x{% endfor %}{% endfor %}", "fuel"),
            ("{% if action == \"disk\" %}{{ gone }}{% endif %}", "undefined value"),
        ] {
            let error = Templates::default().add("own", Language::Ipxe, source.into()).unwrap_err().to_string();
            assert!(error.contains("ipxe of the profile own") && error.contains(words), "{source}: {error}");
        }
        let mut templates = Templates::default();
        templates.add("own", Language::Ipxe, "x".into()).unwrap();
        assert!(templates.has("own") && !templates.has("other"));
        assert!(templates.render(Language::Grub, &intent("x"), None, "").is_none(), "only the language that it is for");
    }
}
