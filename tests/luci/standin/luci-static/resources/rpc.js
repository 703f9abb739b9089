// JSON-RPC calls, batched as LuCI batches them: what is called in one go travels in one request.
'use strict';
'require baseclass';

let queue = [];
let ids = 1;

function failure(call, code, text) {
	return new Error('RPC call to ' + call.object + '/' + call.method + ' failed with ' + code + ': ' + text);
}

function settle(call, message) {
	if (message.error)
		return call.reject(failure(call, 'error ' + message.error.code, message.error.message));

	const result = message.result || [];

	if (call.options.reject && result[0] !== 0)
		return call.reject(failure(call, 'ubus code ' + result[0], 'as ubus says'));

	let value = result.length > 1 ? result[1] : result[0];

	for (const [ key, standard ] of Object.entries(call.options.expect || {})) {
		if (value !== null && value !== undefined && key !== '')
			value = value[key];

		if (value === null || value === undefined || Object.prototype.toString.call(value) !== Object.prototype.toString.call(standard))
			value = standard;
	}

	call.resolve(value);
}

function flush() {
	const calls = queue;

	queue = [];
	fetch(L.env.ubuspath, { method: 'POST', body: JSON.stringify(calls.map(call => call.message)) }).then(answer => {
		if (!answer.ok)
			throw answer;

		return answer.json();
	}).then(messages => {
		calls.forEach(call => {
			settle(call, messages.find(message => message.id === call.message.id) || { result: [] });
		});
	}).catch(error => {
		calls.forEach(call => call.reject(failure(call, 'HTTP error ' + (error.status || 0), error.statusText || String(error))));
	});
}

const KNOWN = [ 'object', 'method', 'params', 'expect', 'reject' ];

return baseclass.extend({
	declare: function(options) {
		for (const name of Object.keys(options)) {
			if (!KNOWN.includes(name))
				throw new TypeError('rpc.declare: unknown option ' + name);
		}

		if (options.params && !Array.isArray(options.params))
			throw new TypeError('rpc.declare: params is a list of names in LuCI 23.05');

		return (...args) => new Promise((resolve, reject) => {
			const params = {};

			(options.params || []).forEach((name, at) => { params[name] = args[at]; });
			queue.push({
				object: options.object, method: options.method, options: options, resolve: resolve, reject: reject,
				message: { jsonrpc: '2.0', id: ids++, method: 'call', params: [ L.env.sessionid, options.object, options.method, params ] }
			});

			if (queue.length === 1)
				Promise.resolve().then(flush);
		});
	}
});
