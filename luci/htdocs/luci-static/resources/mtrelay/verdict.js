'use strict';
'require baseclass';
'require mtrelay.daemon as daemon';

/*
 * The verdict of the overview and the notes under it, computed from the daemon's documents: no requests, no nodes.
 * Levels: good, note (something to know), bad (it does not work), idle (nothing to say yet).
 */

/* The data centres that hold accounts. The CDN (203) and the test data centres are not counted. */
const ACCOUNT_DCS = [ 1, 2, 3, 4, 5 ];

/* Refused handshakes (reject `clock_skew`) from which on a note is shown. */
const CLOCK_REFUSALS = 3;

function isOk(address) {
	return address.state === 'ok';
}

function isCooling(address) {
	return address.state === 'cooling';
}

/* ok as soon as one address works; down when every one that was tried failed and none is left untried. */
function stateOf(addresses) {
	if (addresses.some(isOk))
		return 'ok';

	if (addresses.length && addresses.every(isCooling))
		return 'down';

	return addresses.some(isCooling) ? 'shaky' : 'untried';
}

function familyFails(dc, family) {
	const own = dc.addresses.filter(function(address) { return address.family === family; });
	const others = dc.addresses.filter(function(address) { return address.family !== family; });

	return own.length > 0 && own.every(isCooling) && others.some(isOk);
}

function main(dc) {
	return Math.abs(dc.id);
}

function numbers(dcs) {
	const ids = [];

	dcs.forEach(function(dc) {
		if (ids.indexOf(main(dc)) < 0)
			ids.push(main(dc));
	});

	return ids.sort(function(a, b) { return a - b; }).join(', ');
}

function listOf(addresses) {
	return addresses.map(function(row) { return row.address; }).join(' ');
}

/*
 * The data centres of the document, each with its state. A media number without addresses of its own uses those of the plain
 * number; its state stays `untried` until a client has asked for media there.
 */
function read(doc) {
	const rows = daemon.rows(doc, 'dcs').filter(function(dc) { return typeof(dc.id) === 'number'; });

	return rows.map(function(dc) {
		const own = daemon.rows(dc, 'addresses');
		const plain = rows.filter(function(other) { return other.id === -dc.id; })[0];
		const lent = dc.id < 0 && plain ? daemon.rows(plain, 'addresses') : [];
		const borrows = lent.length > 0 && (!own.length || listOf(own) === listOf(lent));
		const addresses = own.length ? own : lent;
		const unused = borrows && !dc.created && !dc.failed;

		return {
			row: dc,
			id: dc.id,
			media: dc.id < 0,
			borrows: borrows,
			addresses: addresses,
			state: unused ? 'untried' : stateOf(addresses)
		};
	});
}

function headline(status, dcs) {
	const accounts = dcs.filter(function(dc) { return ACCOUNT_DCS.indexOf(main(dc)) >= 0; });
	const plain = accounts.filter(function(dc) { return !dc.media; });
	const media = accounts.filter(function(dc) { return dc.media; });
	const count = function(list, state) {
		return list.filter(function(dc) { return dc.state === state; }).length;
	};
	const good = count(plain, 'ok');
	const down = plain.filter(function(dc) { return dc.state === 'down'; });
	const mediaDown = media.filter(function(dc) { return dc.state === 'down'; });
	const tried = plain.length - count(plain, 'untried');

	if (!plain.length) {
		return daemon.at(status, 'sessions.active')
			? { level: 'good', text: _('Telegram is in use through this relay.') }
			: { level: 'idle', text: _('The relay is running.') };
	}

	if (good === 0 && down.length)
		return { level: 'bad', text: _('Telegram does not work: none of the data centres tried so far answers.') };

	if (down.length) {
		return { level: 'bad', text: _('Telegram works in part: data centre %s does not answer, %d of %d do.')
			.format(numbers(down), good, plain.length) };
	}

	if (mediaDown.length) {
		return { level: 'bad', text: _('Telegram works, but media of data centre %s does not load: it does not answer.')
			.format(numbers(mediaDown)) };
	}

	if (tried === 0 || good === 0)
		return { level: 'idle', text: _('Ready: the relay is running, and no client has connected yet.') };

	if (good < plain.length) {
		return { level: 'good', text: _('Telegram works: %d of %d data centres used so far, all of them answer.')
			.format(good, plain.length) };
	}

	return { level: 'good', text: count(media, 'ok') > 0
		? _('Telegram works: %d of %d data centres, media included.').format(good, plain.length)
		: _('Telegram works: %d of %d data centres.').format(good, plain.length) };
}

function familyNote(dcs, family, bad, other) {
	const failing = dcs.filter(function(dc) { return familyFails(dc, family); });
	const having = dcs.filter(function(dc) {
		return dc.state !== 'untried' && dc.addresses.some(function(address) { return address.family === family; });
	});

	if (!failing.length)
		return null;

	if (failing.length > 1 && failing.length === having.length)
		return _('No data centre answers over %s, %s is used.').format(bad, other);

	return _('DC %s does not answer over %s, %s is used.').format(numbers(failing), bad, other);
}

function notes(status, dcs) {
	const found = [];
	const note = function(level, text) {
		if (text)
			found.push({ level: level, text: text });
	};
	const at = function(path) { return daemon.at(status, path); };

	const clock = at('clock.trusted') === null ? at('clock.synced') : at('clock.trusted');

	if (clock === false) {
		note('note', _('Clock not set yet: until the router knows the time, ee handshakes are not checked for their age, and expiry dates are not applied.'));
	}
	else if (at('clock.refused') > CLOCK_REFUSALS) {
		note('note', _('%d handshakes were refused because clocks differ, the last one by %d seconds. Check the time of that device.')
			.format(at('clock.refused'), at('clock.last_offset_s') || 0));
	}

	note('note', familyNote(dcs, 'ipv6', 'IPv6', 'IPv4'));
	note('note', familyNote(dcs, 'ipv4', 'IPv4', 'IPv6'));

	if (at('config.rejected') > 0)
		note('note', _('A changed configuration was refused, and the one before it stayed in use. The log says which line is wrong.'));

	if (at('fronted.failed') > 0)
		note('note', _('The site of the front domain could not be reached %d times. Unauthenticated clients then get no answer.').format(at('fronted.failed')));

	if (at('panics') > 0)
		note('note', _('%d sessions ended by an internal error of the relay. The log has the details.').format(at('panics')));

	if (at('buffers.waits') > 0 && at('buffers.in_use') !== null && at('buffers.in_use') >= at('buffers.count'))
		note('note', _('All relay buffers are in use, and sessions wait for one. A larger number of buffers in Settings would help.'));

	if (at('closes.limit') > 0)
		note('note', _('%d sessions were refused because a limit was reached.').format(at('closes.limit')));

	return found;
}

return baseclass.extend({
	/* { level, text, notes } from the documents of `status` and `dcs`. */
	of: function(status, dcs) {
		const list = read(dcs);
		const line = headline(status, list);
		const more = notes(status, list);

		return {
			level: line.level,
			text: line.text,
			notes: more
		};
	},

	/* [{ row, id, media, borrows, addresses, state }] from the document of `dcs`; the state is ok, shaky, down or untried. */
	read: read
});
