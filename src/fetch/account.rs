//! Logging in and out: a bot by its token, a person by the code that Telegram sends, and by a password if there is one.
//!
//! The password itself never leaves: see <https://core.telegram.org/api/srp>. Telegram's group is checked like the one of the
//! key exchange, and with the same constants.

use crate::answer::Answer;
use crate::center::{As, fetch_error};
use crate::connection::CallError;
use crate::exchange::{DH_PRIME, GENERATORS, in_range};
use crate::rsa::MODULUS_LEN;
use crate::source::FetchError;
use crate::store::{Account, Contents};
use crate::telegram::Telegram;
use crate::way::fill;
use grammers_crypto::two_factor_auth::calculate_2fa;
use grammers_tl_types::{Deserializable, Serializable as _, enums, functions, types};
use num_bigint::BigUint;

/// A salt is longer than this for nobody.
const MOST_SALT: usize = 1024;
/// So often may one be sent to another data centre.
const MOST_MOVES: u32 = 3;

/// A code that is under way to the owner of a telephone number.
#[derive(Clone, Debug)]
pub struct SentCode {
    phone: String,
    hash: String,
    /// How it comes, in words.
    pub by: &'static str,
}

/// How far a login is.
#[derive(Clone, Debug)]
pub enum Login {
    /// Done.
    Done(Account),
    /// A password is wanted, too.
    Password {
        /// What its owner has written to remember it.
        hint: String,
    },
}

impl Telegram {
    /// The account that is logged in.
    #[must_use]
    pub fn account(&self) -> Option<Account> {
        self.inner.contents().account
    }

    /// Logs a bot in.
    ///
    /// # Errors
    /// As Telegram says.
    pub async fn login_bot(&self, token: &str) -> Result<Account, FetchError> {
        let request = functions::auth::ImportBotAuthorization {
            flags: 0,
            api_id: self.inner.api_id,
            api_hash: self.inner.api_hash.clone(),
            bot_auth_token: token.to_owned(),
        };
        let answer = self.call_moving(&request.to_bytes()).await.map_err(fetch_error)?;
        self.logged_in(&answer)
    }

    /// Has a code sent to the owner of a telephone number.
    ///
    /// # Errors
    /// As Telegram says.
    pub async fn send_code(&self, phone: &str) -> Result<SentCode, FetchError> {
        let phone: String = phone.chars().filter(char::is_ascii_digit).collect();
        let request = functions::auth::SendCode {
            phone_number: phone.clone(),
            api_id: self.inner.api_id,
            api_hash: self.inner.api_hash.clone(),
            settings: enums::CodeSettings::Settings(types::CodeSettings {
                allow_flashcall: false,
                current_number: false,
                allow_app_hash: false,
                allow_missed_call: false,
                allow_firebase: false,
                unknown_number: false,
                logout_tokens: None,
                token: None,
                app_sandbox: None,
            }),
        };
        let answer = self.call_moving(&request.to_bytes()).await.map_err(fetch_error)?;
        match decode(&answer)? {
            enums::auth::SentCode::Code(sent) => Ok(SentCode {
                phone,
                hash: sent.phone_code_hash,
                by: by(&sent.r#type),
            }),
            _ => Err(FetchError::Refused(
                "this number needs Telegram's own application to log in".into(),
            )),
        }
    }

    /// Logs in with the code that came.
    ///
    /// # Errors
    /// As Telegram says; with a wrong code one may try again.
    pub async fn sign_in(&self, sent: &SentCode, code: &str) -> Result<Login, FetchError> {
        let request = functions::auth::SignIn {
            phone_number: sent.phone.clone(),
            phone_code_hash: sent.hash.clone(),
            phone_code: Some(code.trim().to_owned()),
            email_verification: None,
        };
        match self.call_moving(&request.to_bytes()).await {
            Ok(answer) => self.logged_in(&answer).map(Login::Done),
            Err(CallError::Rpc(error)) if error.message == "SESSION_PASSWORD_NEEDED" => {
                let password = self.password().await?;
                let hint = password.hint.unwrap_or_default();
                Ok(Login::Password { hint })
            }
            Err(error) => Err(fetch_error(error)),
        }
    }

    /// Goes on with the password.
    ///
    /// # Errors
    /// As Telegram says; with a wrong password one may try again.
    pub async fn check_password(&self, password: &str) -> Result<Account, FetchError> {
        let settings = self.password().await?;
        let proof = prove(&settings, password)?;
        let request = functions::auth::CheckPassword { password: proof };
        let answer = self.call_moving(&request.to_bytes()).await.map_err(fetch_error)?;
        self.logged_in(&answer)
    }

    /// Logs out, and forgets everything. What Telegram does not hear is forgotten here nevertheless.
    ///
    /// # Errors
    /// Telegram did not hear of it: the session stands in its list until it is ended there.
    pub async fn logout(&self) -> Result<(), FetchError> {
        let outcome = match self.account() {
            Some(_) => self
                .inner
                .call(&functions::auth::LogOut {}.to_bytes())
                .await
                .map(drop),
            None => Ok(()),
        };
        self.inner.close_all();
        self.inner.references.borrow_mut().clear();
        self.inner.chats.take();
        self.inner.change(|contents| *contents = Contents::default());
        match outcome {
            // It had been ended already.
            Err(CallError::Rpc(error)) if error.code == 401 => Ok(()),
            other => other.map_err(fetch_error),
        }
    }

    async fn password(&self) -> Result<types::account::Password, FetchError> {
        let request = functions::account::GetPassword {}.to_bytes();
        let answer = self.call_moving(&request).await.map_err(fetch_error)?;
        let enums::account::Password::Password(password) = decode(&answer)?;
        Ok(password)
    }

    /// Calls a method of somebody who is not logged in yet, at the data centre to which they belong.
    async fn call_moving(&self, body: &[u8]) -> Result<Answer, CallError> {
        let mut moves = 0;
        loop {
            let center = self.inner.center(self.inner.home());
            let error = match center.call(body, As::Anybody).await {
                Err(CallError::Rpc(error)) => error,
                other => return other,
            };
            let words = ["PHONE_MIGRATE_", "USER_MIGRATE_", "NETWORK_MIGRATE_"];
            let to = words.iter().find_map(|word| error.message.strip_prefix(word));
            let to = to
                .and_then(|dc| dc.parse().ok())
                .filter(|dc| (1..1000).contains(dc));
            match to {
                Some(dc) if moves < MOST_MOVES && self.account().is_none() => {
                    moves += 1;
                    self.inner.move_to(dc);
                }
                _ => return Err(CallError::Rpc(error)),
            }
        }
    }

    fn logged_in(&self, answer: &Answer) -> Result<Account, FetchError> {
        let user = match decode(answer)? {
            enums::auth::Authorization::Authorization(authorization) => authorization.user,
            enums::auth::Authorization::SignUpRequired(_) => {
                return Err(FetchError::Refused("there is no account with this number".into()));
            }
        };
        let enums::User::User(user) = user else {
            return Err(FetchError::Protocol("an account without a user".into()));
        };
        let account = Account {
            user: user.id,
            home: self.inner.home(),
            bot: user.bot,
        };
        self.inner.change(|contents| {
            contents.account = Some(account);
            for (dc, key) in &mut contents.keys {
                key.authorized = *dc == account.home;
            }
        });
        Ok(account)
    }
}

/// What shows that one knows the password, without telling it.
fn prove(
    settings: &types::account::Password,
    password: &str,
) -> Result<enums::InputCheckPasswordSrp, FetchError> {
    use enums::PasswordKdfAlgo::Sha256Sha256Pbkdf2Hmacsha512iter100000Sha256ModPow as Known;
    let wrong = || FetchError::Protocol("the question for the password is malformed".into());
    let Some(Known(algorithm)) = &settings.current_algo else {
        return Err(FetchError::Protocol(
            "the password is asked for in an unknown way".into(),
        ));
    };
    let (Some(srp_b), Some(srp_id)) = (&settings.srp_b, settings.srp_id) else {
        return Err(wrong());
    };
    if algorithm.p != DH_PRIME || !GENERATORS.contains(&algorithm.g) {
        return Err(FetchError::Protocol(
            "the password's group is not the known one".into(),
        ));
    }
    let long = |salt: &Vec<u8>| salt.len() > MOST_SALT;
    if srp_b.len() > MODULUS_LEN || !in_range(&BigUint::from_bytes_be(srp_b)) {
        return Err(wrong());
    }
    if long(&algorithm.salt1) || long(&algorithm.salt2) {
        return Err(wrong());
    }
    let mut secret = vec![0; MODULUS_LEN];
    fill(&mut secret);
    let (m1, a) = calculate_2fa(
        &algorithm.salt1,
        &algorithm.salt2,
        &algorithm.p,
        &algorithm.g,
        srp_b.clone(),
        secret,
        password.as_bytes(),
    );
    Ok(enums::InputCheckPasswordSrp::Srp(types::InputCheckPasswordSrp {
        srp_id,
        a: a.to_vec(),
        m1: m1.to_vec(),
    }))
}

fn decode<T: Deserializable>(answer: &Answer) -> Result<T, FetchError> {
    let wrong = |_| FetchError::Protocol("an answer of another kind".into());
    answer.decode().map_err(wrong)
}

fn by(kind: &enums::auth::SentCodeType) -> &'static str {
    use enums::auth::SentCodeType as Kind;
    match kind {
        Kind::App(_) => "in Telegram, on another device",
        Kind::Sms(_) | Kind::SmsWord(_) | Kind::SmsPhrase(_) => "by SMS",
        Kind::Call(_) | Kind::FlashCall(_) | Kind::MissedCall(_) => "by a call",
        Kind::FragmentSms(_) => "at fragment.com",
        Kind::EmailCode(_) => "by e-mail",
        _ => "by Telegram",
    }
}
