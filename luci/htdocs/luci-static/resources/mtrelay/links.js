'use strict';
'require baseclass';
'require mtrelay.values as values';

/*
 * Secrets and links, made in the browser: the same links as `mtrelay link` prints, which a test holds them against.
 * Links hold the secret: anyone who sees one can use the relay.
 */

const MODES = [ 'ee', 'dd', 'plain' ];

function hexOfAscii(text) {
	return text.split('').map(function(c) {
		return ('0' + c.charCodeAt(0).toString(16)).slice(-2);
	}).join('');
}

/* As the daemon escapes: letters, digits and -._~: stay. */
function escaped(host) {
	return encodeURIComponent(host).split('%3A').join(':').split('!').join('%21').split("'").join('%27')
		.split('(').join('%28').split(')').join('%29').split('*').join('%2A');
}

return baseclass.extend({
	/* 16 bytes of the browser's cryptographic randomness; secrets have no other source. */
	newSecret: function() {
		const bytes = new Uint8Array(16);

		window.crypto.getRandomValues(bytes);

		return Array.prototype.map.call(bytes, function(byte) {
			return ('0' + byte.toString(16)).slice(-2);
		}).join('');
	},

	/*
	 * The links of a user, the best disguised first: [{ mode, tg, https }]. where: { host, port, modes, frontDomain }.
	 * An ee link exists only with a domain to put into it.
	 */
	of: function(secret, where) {
		const key = values.keyOf(secret);

		if (!key || !where.host || !where.port)
			return [];

		return MODES.filter(function(mode) {
			return where.modes.indexOf(mode) >= 0 && (mode !== 'ee' || where.frontDomain);
		}).map(function(mode) {
			const prefix = mode === 'plain' ? '' : mode;
			const domain = mode === 'ee' ? hexOfAscii(where.frontDomain) : '';
			const parameters = 'proxy?server=' + escaped(where.host) + '&port=' + where.port + '&secret=' + prefix + key + domain;

			return { mode: mode, tg: 'tg://' + parameters, https: 'https://t.me/' + parameters };
		});
	},

	modeName: function(mode) {
		switch (mode) {
		case 'ee':
			return _('ee: looks like a website (TLS)');
		case 'dd':
			return _('dd: random bytes with padding');
		default:
			return _('plain: for old clients only');
		}
	}
});
