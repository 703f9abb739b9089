//! The configuration file of a relay under test.

use std::fmt::Write;
use std::net::SocketAddr;

use crate::tcp::has_ipv6;

/// A UCI file in the making. It starts with listeners on port 0 of 127.0.0.1 and (where there is one) ::1, statistics on
/// 127.0.0.1:0, and a talkative log; everything else is the relay's default.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    listen: Vec<String>,
    options: Vec<(String, String)>,
    lists: Vec<(String, String)>,
    users: Vec<Vec<(String, String)>>,
    dcs: Vec<(i16, Vec<SocketAddr>)>,
    extra: String,
}

impl Default for RelayConfig {
    fn default() -> Self {
        RelayConfig::new()
    }
}

impl RelayConfig {
    /// No users, no DCs yet.
    pub fn new() -> RelayConfig {
        let mut listen = vec!["127.0.0.1:0".to_string()];
        if has_ipv6() {
            listen.push("[::1]:0".to_string());
        }
        let options = [("stats_listen", "127.0.0.1:0"), ("log_level", "debug")];
        RelayConfig {
            listen,
            options: options
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .into(),
            lists: Vec::new(),
            users: Vec::new(),
            dcs: Vec::new(),
            extra: String::new(),
        }
    }

    /// The usual start: one user called `test`, all modes, and all main and media ids 1 to 5 at one address.
    pub fn simple(secret: [u8; 16], dc: SocketAddr) -> RelayConfig {
        let config = RelayConfig::new().user("test", secret).modes("plain dd ee");
        (1..=5).fold(config, |config, id| config.dc(id, &[dc]))
    }

    /// Listens on these instead.
    pub fn listen(mut self, listen: &[&str]) -> RelayConfig {
        self.listen = listen.iter().map(|addr| addr.to_string()).collect();
        self
    }

    /// How many `listening on` lines the daemon owes.
    pub fn listeners(&self) -> usize {
        self.listen.len()
    }

    /// Whether the daemon owes a `statistics on` line.
    pub(super) fn has_stats(&self) -> bool {
        self.options
            .iter()
            .any(|(name, value)| name == "stats_listen" && !value.is_empty())
    }

    /// Sets an option of the relay's section; the last value stays.
    pub fn option(mut self, name: &str, value: impl ToString) -> RelayConfig {
        self.options.retain(|(other, _)| other != name);
        self.options.push((name.into(), value.to_string()));
        self
    }

    /// Adds to a list of the relay's section.
    pub fn list(mut self, name: &str, value: impl ToString) -> RelayConfig {
        self.lists.push((name.into(), value.to_string()));
        self
    }

    /// Allows these modes: any of `plain dd ee`.
    pub fn modes(self, modes: &str) -> RelayConfig {
        self.option("modes", modes)
    }

    /// Downloads as they are, or encrypted again.
    pub fn fast_mode(self, on: bool) -> RelayConfig {
        self.option("fast_mode", u8::from(on))
    }

    /// Adds a user.
    pub fn user(mut self, name: &str, secret: [u8; 16]) -> RelayConfig {
        let secret = secret
            .iter()
            .fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        self.users
            .push(vec![("name".into(), name.into()), ("secret".into(), secret)]);
        self
    }

    /// Sets an option of the user added last.
    ///
    /// # Panics
    /// If there is none yet.
    pub fn user_option(mut self, name: &str, value: impl ToString) -> RelayConfig {
        let user = self.users.last_mut().expect("a user comes first");
        user.push((name.into(), value.to_string()));
        self
    }

    /// Takes all users away again, for a reload.
    pub fn without_users(mut self) -> RelayConfig {
        self.users.clear();
        self
    }

    /// Sets the addresses of a DC; the last ones stay.
    pub fn dc(mut self, id: i16, addrs: &[SocketAddr]) -> RelayConfig {
        self.dcs.retain(|(other, _)| *other != id);
        self.dcs.push((id, addrs.to_vec()));
        self
    }

    /// Adds lines as they are, after everything else.
    pub fn raw(mut self, lines: &str) -> RelayConfig {
        self.extra.push_str(lines);
        self
    }

    /// The file.
    pub fn to_uci(&self) -> String {
        let mut text = String::from("config relay 'main'\n");
        let lists = self.listen.iter().map(|addr| ("listen", addr.as_str()));
        let lists = lists.chain(
            self.lists
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        lists.for_each(|(name, value)| line(&mut text, "list", name, value));
        self.options
            .iter()
            .for_each(|(name, value)| line(&mut text, "option", name, value));
        for user in &self.users {
            text.push_str("\nconfig user\n");
            user.iter()
                .for_each(|(name, value)| line(&mut text, "option", name, value));
        }
        for (id, addrs) in &self.dcs {
            text.push_str("\nconfig dc\n");
            line(&mut text, "option", "id", &id.to_string());
            addrs
                .iter()
                .for_each(|addr| line(&mut text, "list", "address", &addr.to_string()));
        }
        text + &self.extra
    }
}

fn line(text: &mut String, kind: &str, name: &str, value: &str) {
    let quoted = value.replace('\'', r"'\''");
    writeln!(text, "\t{kind} {name} '{quoted}'").expect("strings take everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_has_a_section_for_everything() {
        let config = RelayConfig::new()
            .listen(&["127.0.0.1:0"])
            .user("it's", [0xab; 16])
            .user_option("max_ips", 2)
            .fast_mode(false)
            .dc(-2, &[([127, 0, 0, 1], 443).into()])
            .raw("# end\n");
        let expected = "config relay 'main'\n\tlist listen '127.0.0.1:0'\n\toption stats_listen '127.0.0.1:0'\n\
            \toption log_level 'debug'\n\toption fast_mode '0'\n\nconfig user\n\toption name 'it'\\''s'\n\
            \toption secret 'abababababababababababababababab'\n\toption max_ips '2'\n\nconfig dc\n\toption id '-2'\n\
            \tlist address '127.0.0.1:443'\n# end\n";
        assert_eq!(config.to_uci(), expected);
    }
}
