//! Login and logout: a bot by its token, a person by the code that Telegram sends and by the account's password, if it has one.
//!
//! The password itself is never sent: see <https://core.telegram.org/api/srp>. Its group is checked as in the key exchange,
//! against the same constants.

use crate::answer::Answer;
use crate::call_error::CallError;
use crate::dc::Authorization;
use crate::dh_group::{DH_PRIME, GENERATORS, in_range};
use crate::rsa::MODULUS_LEN;
use crate::source::FetchError;
use crate::store::Account;
use crate::telegram::Telegram;
use grammers_crypto::two_factor_auth::calculate_2fa;
use grammers_tl_types::{Deserializable, Serializable as _, enums, functions, types};
use mtrelay_core::sys::random;
use num_bigint::BigUint;

/// Upper bound of a password salt in bytes. Telegram's are far shorter.
const MAX_SALT: usize = 1024;
/// Redirects to another data centre that one login call follows.
const MAX_MIGRATIONS: u32 = 3;

/// A login code that Telegram has sent to the owner of a telephone number.
#[derive(Clone, Debug)]
pub struct SentCode {
    phone: String,
    hash: String,
    /// How it is delivered, for people.
    pub by: &'static str,
}

/// The outcome of a sign-in.
#[derive(Clone, Debug)]
pub enum Login {
    /// The account is logged in.
    Done(Account),
    /// The account has a password, which is needed, too.
    Password {
        /// The hint that the owner has set.
        hint: String,
    },
}

impl Telegram {
    /// The account that is logged in.
    #[must_use]
    pub fn account(&self) -> Option<Account> {
        self.dcs.keyring().account()
    }

    /// Logs a bot in.
    ///
    /// # Errors
    /// Telegram's refusal, or the failure of the connection.
    pub async fn login_bot(&self, token: &str) -> Result<Account, FetchError> {
        let request = functions::auth::ImportBotAuthorization {
            flags: 0,
            api_id: self.api_id,
            api_hash: self.api_hash.to_string(),
            bot_auth_token: token.to_owned(),
        };
        let answer = self.call_login(&request.to_bytes()).await?;
        self.logged_in(&answer)
    }

    /// Requests a login code for a telephone number.
    ///
    /// # Errors
    /// Telegram's refusal, or the failure of the connection.
    pub async fn send_code(&self, phone: &str) -> Result<SentCode, FetchError> {
        let phone: String = phone.chars().filter(char::is_ascii_digit).collect();
        let request = functions::auth::SendCode {
            phone_number: phone.clone(),
            api_id: self.api_id,
            api_hash: self.api_hash.to_string(),
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
        let answer = self.call_login(&request.to_bytes()).await?;
        match decode(&answer)? {
            enums::auth::SentCode::Code(sent) => Ok(SentCode {
                phone,
                hash: sent.phone_code_hash,
                by: delivery(&sent.r#type),
            }),
            _ => Err(FetchError::Refused(
                "this number needs Telegram's own application to log in".into(),
            )),
        }
    }

    /// Logs in with a login code.
    ///
    /// # Errors
    /// Telegram's refusal. After a wrong code another attempt is possible.
    pub async fn sign_in(&self, sent: &SentCode, code: &str) -> Result<Login, FetchError> {
        let request = functions::auth::SignIn {
            phone_number: sent.phone.clone(),
            phone_code_hash: sent.hash.clone(),
            phone_code: Some(code.trim().to_owned()),
            email_verification: None,
        };
        match self.call_login(&request.to_bytes()).await {
            Ok(answer) => self.logged_in(&answer).map(Login::Done),
            Err(CallError::Rpc(error)) if error.message == "SESSION_PASSWORD_NEEDED" => {
                let password = self.password().await?;
                let hint = password.hint.unwrap_or_default();
                Ok(Login::Password { hint })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Completes a login with the password.
    ///
    /// # Errors
    /// Telegram's refusal. After a wrong password another attempt is possible.
    pub async fn check_password(&self, password: &str) -> Result<Account, FetchError> {
        let settings = self.password().await?;
        let proof = prove(&settings, password)?;
        let request = functions::auth::CheckPassword { password: proof };
        let answer = self.call_login(&request.to_bytes()).await?;
        self.logged_in(&answer)
    }

    /// Logs out and clears the account file, even if Telegram cannot be reached.
    ///
    /// # Errors
    /// Telegram did not confirm the logout: the session stays in the account's list of sessions.
    pub async fn logout(&self) -> Result<(), FetchError> {
        let outcome = match self.account() {
            Some(_) => {
                let request = functions::auth::LogOut {}.to_bytes();
                self.dcs.call_home(&request).await.map(drop)
            }
            None => Ok(()),
        };
        self.dcs.close_all();
        self.references.clear();
        self.finder.clear();
        self.dcs.keyring().clear();
        match outcome {
            // The session was ended elsewhere.
            Err(CallError::Rpc(error)) if error.code == 401 => Ok(()),
            other => Ok(other?),
        }
    }

    async fn password(&self) -> Result<types::account::Password, FetchError> {
        let request = functions::account::GetPassword {}.to_bytes();
        let answer = self.call_login(&request).await?;
        let enums::account::Password::Password(password) = decode(&answer)?;
        Ok(password)
    }

    /// Calls a login method. Follows redirects to the account's home data centre.
    async fn call_login(&self, body: &[u8]) -> Result<Answer, CallError> {
        let mut migrations = 0;
        loop {
            let dc = self.dcs.get(self.dcs.keyring().home());
            let error = match dc.call(body, Authorization::None).await {
                Err(CallError::Rpc(error)) => error,
                other => return other,
            };
            let words = ["PHONE_MIGRATE_", "USER_MIGRATE_", "NETWORK_MIGRATE_"];
            let to = words.iter().find_map(|word| error.message.strip_prefix(word));
            let to = to
                .and_then(|dc| dc.parse().ok())
                .filter(|dc| (1..1000).contains(dc));
            match to {
                Some(dc) if migrations < MAX_MIGRATIONS && self.account().is_none() => {
                    migrations += 1;
                    self.dcs.keyring().set_login_dc(dc);
                }
                _ => return Err(CallError::Rpc(error)),
            }
        }
    }

    fn logged_in(&self, answer: &Answer) -> Result<Account, FetchError> {
        let user = match decode(answer)? {
            enums::auth::Authorization::Authorization(authorization) => authorization.user,
            enums::auth::Authorization::SignUpRequired(_) => {
                return Err(FetchError::Refused("this number has no account".into()));
            }
        };
        let enums::User::User(user) = user else {
            return Err(FetchError::Protocol("the account has no user".into()));
        };
        let account = Account {
            user: user.id,
            home: self.dcs.keyring().home(),
            bot: user.bot,
        };
        self.dcs.keyring().set_account(account);
        Ok(account)
    }
}

/// The SRP proof that the password is known.
fn prove(
    settings: &types::account::Password,
    password: &str,
) -> Result<enums::InputCheckPasswordSrp, FetchError> {
    use enums::PasswordKdfAlgo::Sha256Sha256Pbkdf2Hmacsha512iter100000Sha256ModPow as Known;
    let wrong = || FetchError::Protocol("the password parameters are malformed".into());
    let Some(Known(algorithm)) = &settings.current_algo else {
        return Err(FetchError::Protocol("the password algorithm is unknown".into()));
    };
    let (Some(srp_b), Some(srp_id)) = (&settings.srp_b, settings.srp_id) else {
        return Err(wrong());
    };
    if algorithm.p != DH_PRIME || !GENERATORS.contains(&algorithm.g) {
        return Err(FetchError::Protocol(
            "the password's group is not the known one".into(),
        ));
    }
    let long = |salt: &Vec<u8>| salt.len() > MAX_SALT;
    if srp_b.len() > MODULUS_LEN || !in_range(&BigUint::from_bytes_be(srp_b)) {
        return Err(wrong());
    }
    if long(&algorithm.salt1) || long(&algorithm.salt2) {
        return Err(wrong());
    }
    let mut secret = vec![0; MODULUS_LEN];
    random::fill(&mut secret);
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
    let wrong = |_| FetchError::Protocol("the answer has another type".into());
    answer.decode().map_err(wrong)
}

/// How a code is delivered, for people.
fn delivery(kind: &enums::auth::SentCodeType) -> &'static str {
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
