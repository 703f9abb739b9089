'use strict';
'require baseclass';

/*
 * What the daemon's words mean, for people: one sentence for each counter, the same everywhere on the pages.
 * The words themselves stay as they are: they are those of the log, of the metrics and of the documentation.
 */

const CLOSES = {
	client_closed: _('Telegram on the phone or computer ended the connection. That is the usual end.'),
	client_reset: _('The client broke the connection off: the app was closed, or the device changed its network.'),
	dc_closed: _('Telegram ended the connection after everything was delivered. That is usual after a download.'),
	dc_reset: _('Telegram, or something on the way there, broke the connection off.'),
	client_timeout: _('The client no longer confirmed what was sent to it: it lost its network.'),
	dc_timeout: _('The data centre accepted the connection and then never answered, or stopped answering.'),
	idle_timeout: _('Neither side sent anything for the idle time.'),
	connect_failed: _('No address of the data centre could be reached. See the table of data centres.'),
	unknown_dc: _('The client asked for a data centre that is in no table. Another program than Telegram, or a new data centre.'),
	limit: _('A limit on sessions or on addresses was reached. See Settings and Users.'),
	quota: _('The traffic allowance of the user is used up.'),
	expired: _('The last day of the user is over.'),
	user_disabled: _('The user was switched off or removed.'),
	shutdown: _('The relay was stopped or restarted.'),
	error: _('Something went wrong in the relay itself. The log says more.')
};

const CONNECT_FAILURES = {
	refused: _('The address answered that nothing listens there, or a firewall said so.'),
	timeout: _('No answer in time: the address is blocked, or the line is down.'),
	unreachable: _('The router has no way to that address. Usual for IPv6 where the provider has none.'),
	reset: _('The connection was broken off while it was made. Some filters do that.'),
	other: _('Any other error of the system.')
};

const REJECTS = {
	bad_secret: _('The secret belongs to no user: an old link, or a stranger who tries.'),
	bad_tag: _('The secret was right, and then came a kind of transport that is not allowed.'),
	replay: _('A handshake that was recorded and sent again. Censors probe like that; they get no answer.'),
	clock_skew: _('The clocks of the client and of the router are too far apart.'),
	timeout: _('The handshake was not finished in time.'),
	malformed: _('Not a Telegram client at all: scanners and browsers.'),
	mode_disabled: _('A kind of link that is switched off in Settings.'),
	closed: _('The client went away in the middle of its handshake.'),
	bad_sni: _('A TLS client that asked for another host than the front domain.'),
	blocked: _('The address of the client is on the block list, or not on the allow list.'),
	budget: _('Closed to make room: too many handshakes were under way at once.')
};

function sideOf(reason) {
	const word = reason.split('_')[0];

	if (word === 'client')
		return _('Client');

	return word === 'dc' || word === 'connect' ? _('Data centre') : _('Relay');
}

const SETS = { closes: CLOSES, connect_failures: CONNECT_FAILURES, rejects: REJECTS };

const RIGHT_TO_LEFT = [ 'ar', 'fa', 'he', 'ur' ];

return baseclass.extend({
	/* Whether the language of the page runs from right to left. LuCI's themes leave that to the pages. */
	isRightToLeft: function() {
		const language = String(document.documentElement.lang || '').split('-')[0].toLowerCase();

		return RIGHT_TO_LEFT.indexOf(language) >= 0;
	},

	/* Numbers with units, addresses and dates keep their order inside of a sentence that runs the other way. */
	technical: function(text) {
		return this.isRightToLeft() ? '\u2066' + text + '\u2069' : String(text);
	},

	/* The words of a set in their order; those that only a newer daemon knows come last. */
	ordered: function(set, counters) {
		const known = Object.keys(SETS[set]);

		return known.concat(Object.keys(counters || {}).filter(function(word) {
			return known.indexOf(word) < 0;
		}));
	},

	/* What a word means, or null where the daemon is newer than the page. */
	meaning: function(set, word) {
		return SETS[set][word] || null;
	},

	sideOf: sideOf,

	/* A data centre by its number: 2 and -2 are the same place, the second for its media. */
	dcName: function(id) {
		const main = Math.abs(id);

		if (main === 203)
			return id < 0 ? _('DC %d (channel files), media').format(main) : _('DC %d (channel files)').format(main);

		if (main > 10000)
			return id < 0 ? _('Test DC %d, media').format(main - 10000) : _('Test DC %d').format(main - 10000);

		return id < 0 ? _('DC %d, media').format(main) : _('DC %d').format(main);
	},

	/* The test data centres stand in the way until somebody uses them. Takes what verdict.read() gives. */
	isListed: function(dc) {
		return Math.abs(dc.id) < 10000 || dc.row.created > 0 || dc.row.failed > 0;
	},

	/* The state of a data centre or of one address. */
	state: function(state) {
		switch (state) {
		case 'ok':
			return _('works');
		case 'shaky':
			return _('in part');
		case 'cooling':
		case 'down':
			return _('does not answer');
		case 'untried':
			return _('not tried yet');
		default:
			return String(state || '-');
		}
	},

	levelOf: function(state) {
		return { ok: 'good', shaky: 'note', cooling: 'bad', down: 'bad' }[state] || 'idle';
	}
});
