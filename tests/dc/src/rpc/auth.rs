//! Logging in: by telephone and code, with a password, as a bot, from another data centre; and out.

use super::{Answer, done, refuse, schema};
use crate::srp::{self, Proof};
use crate::state::{From, State};
use crate::world::Account;
use grammers_tl_types::{enums, functions as f, types};

impl State {
    fn check_api(&self, id: i32, hash: &str) -> Result<(), (i32, String)> {
        if (id, hash) == (self.world.api_id, self.world.api_hash.as_str()) {
            Ok(())
        } else {
            refuse(400, "API_ID_INVALID")
        }
    }

    fn account_of_phone(&self, phone: &str) -> Result<Account, (i32, String)> {
        let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
        let found = self
            .world
            .accounts
            .iter()
            .find(|account| account.phone.as_ref() == Some(&digits));
        found.cloned().ok_or((400, "PHONE_NUMBER_INVALID".into()))
    }

    pub(super) fn send_code(&mut self, from: &From, request: &f::auth::SendCode) -> Answer {
        self.check_api(request.api_id, &request.api_hash)?;
        let account = self.account_of_phone(&request.phone_number)?;
        if account.home != from.dc {
            return refuse(303, format!("PHONE_MIGRATE_{}", account.home));
        }
        let hash = format!("{:016x}", self.rng.next_u64());
        self.codes.insert(hash.clone(), account.phone.unwrap_or_default());
        let length = account.code.len() as i32;
        done(enums::auth::SentCode::Code(types::auth::SentCode {
            r#type: types::auth::SentCodeTypeApp { length }.into(),
            phone_code_hash: hash,
            next_type: None,
            timeout: None,
        }))
    }

    pub(super) fn sign_in(&mut self, from: &From, request: &f::auth::SignIn) -> Answer {
        let account = self.account_of_phone(&request.phone_number)?;
        if self.codes.get(&request.phone_code_hash) != account.phone.as_ref() {
            return refuse(400, "PHONE_CODE_EXPIRED");
        }
        match request.phone_code.as_deref() {
            None | Some("") => return refuse(400, "PHONE_CODE_EMPTY"),
            Some(code) if code != account.code => return refuse(400, "PHONE_CODE_INVALID"),
            Some(_) => {}
        }
        self.codes.remove(&request.phone_code_hash);
        if account.password.is_some() {
            if let Some(key) = self.keys.get_mut(&(from.dc, from.key)) {
                key.half = Some(account.id);
            }
            return refuse(401, "SESSION_PASSWORD_NEEDED");
        }
        self.logged_in(from, &account)
    }

    pub(super) fn password(&mut self, from: &From) -> Answer {
        let key = self.keys.get(&(from.dc, from.key));
        let Some(id) = key.and_then(|key| key.half.or(key.user)) else {
            return refuse(401, "AUTH_KEY_UNREGISTERED");
        };
        let password = self
            .world
            .account(id)
            .and_then(|account| account.password.clone());
        let asked = password.map(|password| {
            let proof = Proof::ask(&password, &mut self.rng);
            let (id, public) = (self.rng.next_u64() as i64, proof.public());
            self.proofs.insert(id, proof);
            (id, public)
        });
        done(enums::account::Password::Password(types::account::Password {
            has_recovery: false,
            has_secure_values: false,
            has_password: asked.is_some(),
            current_algo: asked.is_some().then(srp::algorithm),
            srp_id: asked.as_ref().map(|(id, _)| *id),
            srp_b: asked.map(|(_, public)| public),
            hint: Some("what the horse is".into()),
            email_unconfirmed_pattern: None,
            new_algo: srp::algorithm(),
            new_secure_algo: enums::SecurePasswordKdfAlgo::Unknown,
            secure_random: self.rng.bytes(256),
            pending_reset_date: None,
            login_email_pattern: None,
        }))
    }

    pub(super) fn check_password(&mut self, from: &From, request: &f::auth::CheckPassword) -> Answer {
        let half = self.keys.get(&(from.dc, from.key)).and_then(|key| key.half);
        let Some(account) = half.and_then(|id| self.world.account(id)).cloned() else {
            return refuse(401, "AUTH_KEY_UNREGISTERED");
        };
        let enums::InputCheckPasswordSrp::Srp(said) = &request.password else {
            return refuse(400, "PASSWORD_HASH_INVALID");
        };
        // Each question is good for one answer.
        let Some(proof) = self.proofs.remove(&said.srp_id) else {
            return refuse(400, "SRP_ID_INVALID");
        };
        if !proof.holds(&said.a, &said.m1) {
            return refuse(400, "PASSWORD_HASH_INVALID");
        }
        self.logged_in(from, &account)
    }

    pub(super) fn import_bot(&mut self, from: &From, request: &f::auth::ImportBotAuthorization) -> Answer {
        self.check_api(request.api_id, &request.api_hash)?;
        let token = Some(request.bot_auth_token.as_str());
        let found = self
            .world
            .accounts
            .iter()
            .find(|account| account.token.as_deref() == token);
        let Some(account) = found.cloned() else {
            return refuse(400, "ACCESS_TOKEN_INVALID");
        };
        if account.home != from.dc {
            return refuse(303, format!("USER_MIGRATE_{}", account.home));
        }
        self.logged_in(from, &account)
    }

    pub(super) fn export(&mut self, from: &From, request: &f::auth::ExportAuthorization) -> Answer {
        let user = self.user(from);
        let Some(id) = user else {
            return refuse(401, "AUTH_KEY_UNREGISTERED");
        };
        if request.dc_id == from.dc || !self.addresses.contains_key(&request.dc_id) {
            return refuse(400, "DC_ID_INVALID");
        }
        let bytes = self.rng.bytes(96);
        self.exported.insert(bytes.clone(), (id, request.dc_id));
        done(enums::auth::ExportedAuthorization::Authorization(
            types::auth::ExportedAuthorization { id, bytes },
        ))
    }

    pub(super) fn import(&mut self, from: &From, request: &f::auth::ImportAuthorization) -> Answer {
        // Good once, and only where it was made for.
        let Some((id, dc)) = self.exported.remove(&request.bytes) else {
            return refuse(400, "AUTH_BYTES_INVALID");
        };
        if (id, dc) != (request.id, from.dc) {
            return refuse(400, "AUTH_BYTES_INVALID");
        }
        match self.world.account(id).cloned() {
            Some(account) => self.logged_in(from, &account),
            None => refuse(400, "USER_ID_INVALID"),
        }
    }

    pub(super) fn log_out(&mut self, from: &From) -> Answer {
        if let Some(key) = self.keys.get_mut(&(from.dc, from.key)) {
            (key.user, key.half) = (None, None);
        }
        done(enums::auth::LoggedOut::Out(types::auth::LoggedOut {
            future_auth_token: None,
        }))
    }

    fn logged_in(&mut self, from: &From, account: &Account) -> Answer {
        if let Some(key) = self.keys.get_mut(&(from.dc, from.key)) {
            (key.user, key.half) = (Some(account.id), None);
        }
        done(enums::auth::Authorization::Authorization(
            types::auth::Authorization {
                setup_password_required: false,
                otherwise_relogin_days: None,
                tmp_sessions: None,
                future_auth_token: None,
                user: schema::user(account, true),
            },
        ))
    }
}
