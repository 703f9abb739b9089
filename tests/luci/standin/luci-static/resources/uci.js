// UCI values with changes that wait in the page until they are saved.
'use strict';
'require baseclass';
'require rpc';

const call = (method, params) => rpc.declare({ object: 'uci', method: method, params: params, reject: true });
const callGet = call('get', [ 'config' ]);
const callAdd = call('add', [ 'config', 'type', 'name', 'values' ]);
const callSet = call('set', [ 'config', 'section', 'values' ]);
const callDelete = call('delete', [ 'config', 'section', 'options' ]);
const callChanges = call('changes', []);

const values = {};
let made = 0;
let pending = [];

function sectionOf(config, id) {
	if (!values[config])
		throw new Error('uci: ' + config + ' is not loaded');

	return values[config][id] || null;
}

return baseclass.extend({
	load: function(config) {
		if (values[config])
			return Promise.resolve([ config ]);

		return callGet(config).then(answer => {
			values[config] = (answer && answer.values) || {};
			return [ config ];
		});
	},

	unload: function(config) {
		delete values[config];
		pending = pending.filter(change => change.config !== config);
	},

	sections: function(config, type) {
		return Object.values(values[config] || {}).filter(section => section['.type'] === type || !type)
			.sort((a, b) => a['.index'] - b['.index']);
	},

	get: function(config, id, option) {
		const section = values[config] ? values[config][id] : null;

		if (!section)
			return null;

		return option ? section[option] : section;
	},

	set: function(config, id, option, value) {
		const section = sectionOf(config, id);

		if (!section || option.startsWith('.'))
			throw new Error('uci.set: ' + config + '.' + id + '.' + option);

		if (value === null || value === undefined || value === '')
			return this.unset(config, id, option);

		section[option] = Array.isArray(value) ? value.map(String) : String(value);
		pending.push({ config: config, id: id, set: { [option]: section[option] } });
	},

	unset: function(config, id, option) {
		const section = sectionOf(config, id);

		if (section && section[option] !== undefined) {
			delete section[option];
			pending.push({ config: config, id: id, unset: option });
		}
	},

	add: function(config, type, name) {
		const id = name || 'new' + (++made);

		values[config][id] = { '.type': type, '.name': id, '.anonymous': !name, '.index': 1000 + made };
		pending.push({ config: config, id: id, add: type, name: name });

		return id;
	},

	remove: function(config, id) {
		const isNew = pending.some(change => change.id === id && change.add);

		delete values[config][id];
		pending = pending.filter(change => change.config !== config || change.id !== id);

		if (!isNew)
			pending.push({ config: config, id: id, remove: true });
	},

	// Sends what waits, in order, and reads everything again.
	save: function() {
		const changes = pending, ids = {};

		pending = [];

		return changes.reduce((before, change) => before.then(() => {
			const id = ids[change.id] || change.id;

			if (change.add)
				return callAdd(change.config, change.add, change.name, {}).then(answer => { ids[change.id] = answer.section; });

			if (change.set)
				return callSet(change.config, id, change.set);

			return callDelete(change.config, id, change.unset ? [ change.unset ] : undefined);
		}), Promise.resolve()).then(() => {
			const configs = Object.keys(values);

			configs.forEach(config => delete values[config]);
			return Promise.all(configs.map(config => this.load(config)));
		});
	},

	changes: function() {
		return callChanges().then(answer => answer.changes || {});
	}
});
