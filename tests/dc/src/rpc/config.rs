//! What a client asks first: where the data centres are.

use crate::state::State;
use grammers_tl_types::{enums, types};

impl State {
    pub(super) fn config(&self, this_dc: i32) -> enums::Config {
        let options = self.addresses.iter().map(|(id, address)| {
            types::DcOption {
                ipv6: address.is_ipv6(),
                media_only: false,
                tcpo_only: false,
                cdn: false,
                r#static: false,
                this_port_only: false,
                id: *id,
                ip_address: address.ip().to_string(),
                port: address.port().into(),
                secret: None,
            }
            .into()
        });
        let now = self.unix_seconds();
        types::Config {
            default_p2p_contacts: false,
            preload_featured_stickers: false,
            revoke_pm_inbox: false,
            blocked_mode: false,
            force_try_ipv6: false,
            date: now,
            expires: now + 3600,
            test_mode: false,
            this_dc,
            dc_options: options.collect(),
            dc_txt_domain_name: "test.invalid".into(),
            chat_size_max: 200,
            megagroup_size_max: 200_000,
            forwarded_count_max: 100,
            online_update_period_ms: 210_000,
            offline_blur_timeout_ms: 5000,
            offline_idle_timeout_ms: 30_000,
            online_cloud_timeout_ms: 300_000,
            notify_cloud_delay_ms: 30_000,
            notify_default_delay_ms: 1500,
            push_chat_period_ms: 60_000,
            push_chat_limit: 2,
            edit_time_limit: 172_800,
            revoke_time_limit: 172_800,
            revoke_pm_time_limit: 172_800,
            rating_e_decay: 2_419_200,
            stickers_recent_limit: 200,
            channels_read_media_period: 604_800,
            tmp_sessions: None,
            call_receive_timeout_ms: 20_000,
            call_ring_timeout_ms: 90_000,
            call_connect_timeout_ms: 30_000,
            call_packet_timeout_ms: 10_000,
            me_url_prefix: "https://t.me/".into(),
            autoupdate_url_prefix: None,
            gif_search_username: None,
            venue_search_username: None,
            img_search_username: None,
            static_maps_provider: None,
            caption_length_max: 1024,
            message_length_max: 4096,
            webfile_dc_id: 4,
            suggested_lang_code: None,
            lang_pack_version: None,
            base_lang_pack_version: None,
            reactions_default: None,
            autologin_token: None,
        }
        .into()
    }
}

pub(super) fn nearest(dc: i32) -> enums::NearestDc {
    types::NearestDc {
        country: "NL".into(),
        this_dc: dc,
        nearest_dc: dc,
    }
    .into()
}

pub(super) fn no_updates(date: i32) -> enums::updates::State {
    types::updates::State {
        pts: 1,
        qts: 1,
        date,
        seq: 1,
        unread_count: 0,
    }
    .into()
}
