'use strict';
'require baseclass';

/*
 * The meaning of each close reason, connect failure and reject: one sentence each, shown as a tooltip.
 * The words themselves are not translated: the log, the metrics and the documentation use them.
 */

const CLOSES = {
	client_closed: _('The client ended the connection. This is the usual end of a session.'),
	client_reset: _('The client reset the connection: the app was closed, or the device changed its network.'),
	dc_closed: _('The data centre ended the connection after everything was delivered. This is usual after a download.'),
	dc_reset: _('The data centre, or a device on the path to it, reset the connection.'),
	client_timeout: _('The client stopped acknowledging what was sent to it: it lost its network.'),
	dc_timeout: _('The data centre stopped acknowledging packets, so the system closed the connection. A data centre that only sends nothing is not counted here.'),
	idle_timeout: _('Neither side sent a byte for the idle timeout, or for 60 seconds after one side had finished sending.'),
	connect_failed: _('No address of the data centre could be reached. See the table of data centres.'),
	unknown_dc: _('The client asked for a data centre number that the table does not hold: it is not a Telegram app, or the number is new.'),
	limit: _('A limit on sessions or on addresses was reached, of the user or of the relay.'),
	quota: _('The traffic allowance of the user is used up.'),
	expired: _('The last day of the user is over.'),
	user_disabled: _('The user was switched off or removed.'),
	shutdown: _('The relay was stopped or restarted.'),
	error: _('An internal error of the relay. The log has the details.')
};

const CONNECT_FAILURES = {
	refused: _('The address refused the connection: nothing listens there, or a firewall rejected it.'),
	timeout: _('No answer in time: the address is blocked, or the line is down.'),
	unreachable: _('The router has no route to that address. This is usual for IPv6 where the provider offers none.'),
	reset: _('The connection was reset while it was being set up. Some filters do this.'),
	other: _('Any other error of the system.')
};

const REJECTS = {
	bad_secret: _('The secret belongs to none of the users: an old link, or a client that guesses.'),
	bad_tag: _('The secret was right, but the transport tag behind it is not allowed with this kind of link.'),
	replay: _('A handshake that was recorded and sent again. Censors probe this way; the relay does not answer.'),
	clock_skew: _('The clocks of the client and of the router are too far apart.'),
	timeout: _('The handshake was not finished in time.'),
	malformed: _('The handshake was not one of Telegram: a scanner or a browser.'),
	mode_disabled: _('A kind of link that is switched off by the option modes.'),
	closed: _('The client closed the connection during its handshake.'),
	bad_sni: _('A TLS client asked for a host other than the front domain.'),
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

	/* Isolates numbers with units, addresses and dates, so that they keep their order in right-to-left text. */
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

	/* The meaning of a word, or null for a word of a newer daemon. */
	meaning: function(set, word) {
		return SETS[set][word] || null;
	},

	sideOf: sideOf,

	/* The name of a data centre by its id; a negative id is the media server of the same number. */
	dcName: function(id) {
		const main = Math.abs(id);

		if (main === 203)
			return id < 0 ? _('DC %d (channel files), media').format(main) : _('DC %d (channel files)').format(main);

		if (main > 10000)
			return id < 0 ? _('Test DC %d, media').format(main - 10000) : _('Test DC %d').format(main - 10000);

		return id < 0 ? _('DC %d, media').format(main) : _('DC %d').format(main);
	},

	/* Whether to list a data centre: a test data centre is listed once it was used. Takes a row of verdict.read(). */
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
