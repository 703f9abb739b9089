//! Opens the configured account, and logs it in and out at the terminal.

use super::args::LoginArgs;
use super::exit::{FAILED, USAGE, complain, fetch_code, print};
use super::prompt::{Echo, ask};
use crate::account::Login;
use crate::config::{Config, Proxy};
use crate::route::Route;
use crate::rsa::PublicKey;
use crate::source::FetchError;
use crate::store::{Account, Store};
use crate::telegram::{Device, Telegram, TelegramOptions};
use mtrelay_core::dial::Dialer;
use smol::LocalExecutor;
use std::net::ToSocketAddrs as _;
use std::rc::Rc;

/// Runs `work` with the configured account.
pub(super) async fn with<T>(config: &Config, work: impl AsyncFnOnce(Rc<Telegram>) -> T) -> Result<T, u8> {
    let executor = Rc::new(LocalExecutor::new());
    let telegram = Rc::new(open(config, executor.clone()).await?);
    Ok(executor.run(work(telegram)).await)
}

async fn open(config: &Config, executor: Rc<LocalExecutor<'static>>) -> Result<Telegram, u8> {
    let Some((api_id, api_hash)) = config.api.clone() else {
        complain(
            "api_id and api_hash are missing: get your own at https://my.telegram.org (option api_id, option api_hash)",
        );
        return Err(USAGE);
    };
    let store = Store::new(&config.account);
    let options = TelegramOptions {
        api_id,
        api_hash,
        routes: routes(config).await?,
        keys: keys(config)?,
        store,
        connections: config.connections as usize,
        device: Device::this(),
        test: config.test,
    };
    let dialer = Dialer::new(executor.clone(), config.dial.clone());
    Telegram::new(executor, dialer, options).map_err(|error| {
        complain(error);
        FAILED
    })
}

/// `mtfetch login`
pub(super) async fn log_in(config: &Config, args: &LoginArgs) -> Result<u8, u8> {
    with(config, async |telegram| {
        if let Some(account) = telegram.account() {
            complain(format_args!(
                "{} is logged in already (mtfetch logout)",
                shown(&account)
            ));
            return FAILED;
        }
        let done = if args.bot || args.bot_token_file.is_some() {
            bot(&telegram, args).await
        } else {
            person(&telegram).await
        };
        match done {
            Ok(account) => print(&format!("{} is logged in\n", shown(&account))),
            Err(code) => code,
        }
    })
    .await
}

/// `mtfetch logout`
pub(super) async fn log_out(config: &Config) -> Result<u8, u8> {
    with(config, async |telegram| {
        let Some(account) = telegram.account() else {
            complain("no account is logged in");
            return FAILED;
        };
        match telegram.logout().await {
            Ok(()) => print(&format!("{} is logged out\n", shown(&account))),
            Err(error) => {
                complain(format_args!(
                    "the keys are deleted, but Telegram did not confirm the logout: {error}"
                ));
                fetch_code(&error)
            }
        }
    })
    .await
}

async fn bot(telegram: &Telegram, args: &LoginArgs) -> Result<Account, u8> {
    let token = if let Some(file) = &args.bot_token_file {
        std::fs::read_to_string(file).map_err(|error| {
            complain(format_args!("{}: {error}", file.display()));
            USAGE
        })?
    } else if let Ok(token) = std::env::var("MTFETCH_BOT_TOKEN") {
        token
    } else {
        prompt("Bot token", Echo::Off).await?
    };
    telegram
        .login_bot(token.trim())
        .await
        .map_err(|error| report(&error))
}

/// Attempts to type a code or a password.
const MAX_ATTEMPTS: usize = 3;

async fn person(telegram: &Telegram) -> Result<Account, u8> {
    let phone = prompt("Phone number with country code", Echo::On).await?;
    let sent = telegram.send_code(&phone).await.map_err(|error| report(&error))?;
    let text = format!("Login code (sent {})", sent.by);
    let mut login = Err(FAILED);
    for _ in 0..MAX_ATTEMPTS {
        let code = prompt(&text, Echo::On).await?;
        login = telegram
            .sign_in(&sent, &code)
            .await
            .map_err(|error| report(&error));
        if login.is_ok() {
            break;
        }
    }
    let hint = match login? {
        Login::Done(account) => return Ok(account),
        Login::Password { hint } if hint.is_empty() => String::new(),
        Login::Password { hint } => format!(" ({})", hint.replace(char::is_control, "_")),
    };
    let text = format!("Password of the account{hint}");
    let mut account = Err(FAILED);
    for _ in 0..MAX_ATTEMPTS {
        let password = prompt(&text, Echo::Off).await?;
        account = telegram
            .check_password(&password)
            .await
            .map_err(|error| report(&error));
        if account.is_ok() {
            break;
        }
    }
    account
}

async fn prompt(text: &str, echo: Echo) -> Result<String, u8> {
    ask(text, echo).await.map_err(|error| {
        complain(error);
        FAILED
    })
}

fn shown(account: &Account) -> String {
    format!(
        "{} {}",
        if account.bot { "the bot" } else { "the account" },
        account.user
    )
}

fn report(error: &FetchError) -> u8 {
    complain(error);
    fetch_code(error)
}

/// The configured proxies, or the direct route if there are none.
async fn routes(config: &Config) -> Result<Vec<Route>, u8> {
    let mut routes = Vec::new();
    for proxy in &config.proxies {
        let Proxy { server, secret } = proxy.clone();
        let place = (server.host.clone(), server.port);
        match smol::unblock(move || place.to_socket_addrs().map(Vec::from_iter)).await {
            Ok(addresses) => routes.push(Route::Proxy(addresses, secret)),
            Err(error) => complain(format_args!("proxy {server}: {error}")),
        }
    }
    if routes.is_empty() && !config.proxies.is_empty() {
        // No fallback to the direct route: the owner may have configured a proxy to hide the traffic.
        return Err(FAILED);
    }
    if routes.is_empty() {
        routes.push(Route::Direct(config.dcs.clone()));
    }
    Ok(routes)
}

fn keys(config: &Config) -> Result<Vec<PublicKey>, u8> {
    let Some(file) = &config.rsa_key else {
        return Ok(PublicKey::built_in());
    };
    let text = std::fs::read_to_string(file).map_err(|error| {
        complain(format_args!("{}: {error}", file.display()));
        USAGE
    })?;
    PublicKey::from_pem(&text)
        .filter(|keys| !keys.is_empty())
        .ok_or_else(|| {
            complain(format_args!(
                "{}: not a PEM file with RSA public keys of 2048 bits",
                file.display()
            ));
            USAGE
        })
}
