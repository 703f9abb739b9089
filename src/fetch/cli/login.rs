//! The account: opened for whoever needs it, logged in and out at the terminal.

use super::args::LoginArgs;
use super::prompt::{Echo, ask};
use super::{FAILED, WRONG, answer, complain, get};
use crate::account::Login;
use crate::config::{Config, Proxy};
use crate::output::SaveError;
use crate::route::Route;
use crate::rsa::PublicKey;
use crate::source::FetchError;
use crate::store::{Account, Store};
use crate::telegram::{Device, Telegram, TelegramOptions};
use mtrelay_core::dial::Dialer;
use smol::LocalExecutor;
use std::net::ToSocketAddrs as _;
use std::rc::Rc;

/// Does something with Telegram and the configured account.
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
        return Err(WRONG);
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
            Ok(account) => answer(&format!("{} is logged in\n", shown(&account))),
            Err(code) => code,
        }
    })
    .await
}

/// `mtfetch logout`
pub(super) async fn log_out(config: &Config) -> Result<u8, u8> {
    with(config, async |telegram| {
        let Some(account) = telegram.account() else {
            complain("nobody is logged in");
            return FAILED;
        };
        match telegram.logout().await {
            Ok(()) => answer(&format!("{} is logged out\n", shown(&account))),
            Err(error) => {
                complain(format_args!(
                    "the keys are gone, but Telegram was not told: {error}"
                ));
                code(&error)
            }
        }
    })
    .await
}

async fn bot(telegram: &Telegram, args: &LoginArgs) -> Result<Account, u8> {
    let token = if let Some(file) = &args.bot_token_file {
        std::fs::read_to_string(file).map_err(|error| {
            complain(format_args!("{}: {error}", file.display()));
            WRONG
        })?
    } else if let Ok(token) = std::env::var("MTFETCH_BOT_TOKEN") {
        token
    } else {
        question("The bot's token", Echo::Off).await?
    };
    telegram
        .login_bot(token.trim())
        .await
        .map_err(|error| told(&error))
}

/// So often a code or a password may be mistyped.
const TRIES: usize = 3;

async fn person(telegram: &Telegram) -> Result<Account, u8> {
    let phone = question("Phone number, with the country's code", Echo::On).await?;
    let sent = telegram.send_code(&phone).await.map_err(|error| told(&error))?;
    let asked = format!("The code that comes {}", sent.by);
    let mut login = Err(FAILED);
    for _ in 0..TRIES {
        let code = question(&asked, Echo::On).await?;
        login = telegram.sign_in(&sent, &code).await.map_err(|error| told(&error));
        if login.is_ok() {
            break;
        }
    }
    let hint = match login? {
        Login::Done(account) => return Ok(account),
        Login::Password { hint } if hint.is_empty() => String::new(),
        Login::Password { hint } => format!(" ({})", hint.replace(char::is_control, "_")),
    };
    let asked = format!("The password of the account{hint}");
    let mut account = Err(FAILED);
    for _ in 0..TRIES {
        let password = question(&asked, Echo::Off).await?;
        account = telegram
            .check_password(&password)
            .await
            .map_err(|error| told(&error));
        if account.is_ok() {
            break;
        }
    }
    account
}

async fn question(text: &str, echo: Echo) -> Result<String, u8> {
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

fn told(error: &FetchError) -> u8 {
    complain(error);
    code(error)
}

fn code(error: &FetchError) -> u8 {
    get::code(&SaveError::Fetch(error.clone()))
}

/// Where the data centres are, or the proxies that lead to them.
async fn routes(config: &Config) -> Result<Vec<Route>, u8> {
    let mut routes = Vec::new();
    for proxy in &config.proxies {
        let Proxy { server, secret } = proxy.clone();
        let place = (server.host.clone(), server.port);
        match smol::unblock(move || place.to_socket_addrs().map(Vec::from_iter)).await {
            Ok(addresses) => routes.push(Route::Proxy(addresses, secret)),
            Err(error) => complain(format_args!("the proxy {server}: {error}")),
        }
    }
    if routes.is_empty() && !config.proxies.is_empty() {
        // Not the direct way instead: who names a proxy wants it.
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
        WRONG
    })?;
    PublicKey::from_pem(&text)
        .filter(|keys| !keys.is_empty())
        .ok_or_else(|| {
            complain(format_args!(
                "{}: no RSA public key of 2048 bits in PEM",
                file.display()
            ));
            WRONG
        })
}
