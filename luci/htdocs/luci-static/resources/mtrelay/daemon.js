'use strict';
'require baseclass';
'require rpc';

/*
 * Calls of the daemon's ubus object and of the system objects that the pages use. Every answer is { doc } or { fault }:
 * a daemon that is absent, or older than the page, is an ordinary case and never an exception.
 */

const CODE_OF_UBUS = /ubus code (\d+)/;
const CODE_OF_JSONRPC = /error (-\d+)/;

/* Kinds of faults: absent, denied, old (the daemon has no such method), slow, or failed. */
const UBUS_FAULTS = { 3: 'old', 4: 'absent', 6: 'denied', 7: 'slow' };
const JSONRPC_FAULTS = { '-32000': 'absent', '-32002': 'denied', '-32003': 'slow' };

function declare(object, method, params) {
	return rpc.declare({ object: object, method: method, params: params || [], reject: true });
}

const calls = {
	status: declare('mtrelay', 'status'),
	dcs: declare('mtrelay', 'dcs'),
	users: declare('mtrelay', 'users'),
	sessions: declare('mtrelay', 'sessions', [ 'limit', 'offset' ]),
	link: declare('mtrelay', 'link', [ 'user', 'host' ]),
	check: declare('mtrelay', 'check', [ 'id' ]),
	log: declare('log', 'read', [ 'lines', 'stream', 'oneshot' ]),
	services: declare('rc', 'list', [ 'name' ]),
	service: declare('rc', 'init', [ 'name', 'action' ]),
	interfaces: declare('network.interface', 'dump'),
	access: declare('session', 'access', [ 'scope', 'object', 'function' ])
};

function faultOf(error) {
	const text = String((error && error.message) || error || '');
	const ubus = CODE_OF_UBUS.exec(text);
	const jsonrpc = CODE_OF_JSONRPC.exec(text);
	let kind = 'failed';

	if (ubus)
		kind = UBUS_FAULTS[ubus[1]] || kind;
	else if (jsonrpc)
		kind = JSONRPC_FAULTS[jsonrpc[1]] || kind;

	return { kind: kind, text: text };
}

function isTable(value) {
	return value !== null && typeof(value) === 'object' && !Array.isArray(value);
}

return baseclass.extend({
	/* Calls a method by its name in `calls`: ask('sessions', 20, 0). The promise never rejects. */
	ask: function(name) {
		const args = Array.prototype.slice.call(arguments, 1);

		return calls[name].apply(null, args).then(function(doc) {
			return { doc: isTable(doc) ? doc : {} };
		}, function(error) {
			return { fault: faultOf(error) };
		});
	},

	/* The value at a path such as 'sessions.active' of a document, or null where an older daemon has none. */
	at: function(doc, path) {
		return path.split('.').reduce(function(value, name) {
			return isTable(value) && value[name] !== undefined ? value[name] : null;
		}, doc);
	},

	/* The tables in the array of that name; an empty array if there is none. */
	rows: function(doc, name) {
		const list = isTable(doc) && Array.isArray(doc[name]) ? doc[name] : [];

		return list.filter(isTable);
	},

	/* Whether this login may see the configuration, secrets included, and whether it may change it. */
	rights: function() {
		const may = function(name) {
			return calls.access('uci', 'mtrelay', name).then(function(answer) {
				return isTable(answer) && answer.access === true;
			}, function() {
				return false;
			});
		};

		return Promise.all([ may('read'), may('write') ]).then(function(both) {
			return { look: both[0], change: both[1] };
		});
	},

	/* The service as its init script knows it: { installed, enabled, running }, or null when that cannot be asked. */
	service: function() {
		return this.ask('services', 'mtrelay').then(function(answer) {
			if (answer.fault)
				return null;

			const service = answer.doc.mtrelay;

			return {
				installed: isTable(service),
				enabled: isTable(service) && service.enabled === true,
				running: isTable(service) && service.running === true
			};
		});
	},

	/* The sentence that the page shows for a fault. */
	explain: function(fault) {
		switch (fault.kind) {
		case 'absent':
			return _('The relay is not running.');
		case 'denied':
			return _('This login has no right to ask for this.');
		case 'old':
			return _('The running relay is older than this page and does not support this request.');
		case 'slow':
			return _('The relay took too long to answer.');
		default:
			return _('The router did not answer: %s').format(fault.text);
		}
	}
});
