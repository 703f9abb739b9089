'use strict';
'require view';
'require form';
'require uci';
'require mtrelay.daemon as daemon';
'require mtrelay.links as links';
'require mtrelay.metrics as metrics';
'require mtrelay.parts as parts';
'require mtrelay.reach as reach';
'require mtrelay.schema as schema';
'require mtrelay.share as share';
'require mtrelay.words as words';

/* The number of users from which on a search field is shown. */
const SEARCHED_FROM = 10;

/* The name of a user: the option, or the name of the section, as in the daemon. */
function nameOf(section_id) {
	const section = uci.get('mtrelay', section_id) || {};

	return section.name || (section['.anonymous'] ? '' : section['.name']) || '';
}

function others(section_id) {
	return uci.sections('mtrelay', 'user').filter(function(section) { return section['.name'] !== section_id; });
}

function limitsOf(section_id) {
	const get = function(name) { return +(uci.get('mtrelay', section_id, name) || 0); };
	const expires = uci.get('mtrelay', section_id, 'expires');
	const said = [];

	if (get('max_sessions'))
		said.push(_('%d sessions').format(get('max_sessions')));

	if (get('max_ips'))
		said.push(_('%d addresses').format(get('max_ips')));

	if (get('quota_mb')) {
		said.push(uci.get('mtrelay', section_id, 'quota_reset') === 'monthly'
			? _('%s a month').format(parts.bytes(get('quota_mb') * 1048576))
			: _('%s in all').format(parts.bytes(get('quota_mb') * 1048576)));
	}

	if (expires)
		said.push(_('until %s').format(words.technical(expires)));

	return said.length ? said.join(', ') : _('none');
}

/* A cell that every poll fills again. */
function liveCell(user, field, help) {
	const node = E('span', { 'class': 'mtrelay-live', 'data-field': field, 'data-tooltip': help, 'aria-description': help }, [ '-' ]);

	node.userName = user;

	return node;
}

function traffic(user) {
	if (!user)
		return '-';

	const moved = parts.bytes(daemon.at(user, 'bytes.down')) + ' / ' + parts.bytes(daemon.at(user, 'bytes.up'));

	return user.quota ? moved + ', ' + _('%s of %s used').format(parts.bytes(user.quota_used), parts.bytes(user.quota)) : moved;
}

function byName(doc) {
	const found = {};

	daemon.rows(doc || {}, 'users').forEach(function(user) { found['=' + user.name] = user; });

	return found;
}

return view.extend({
	load: function() {
		return Promise.all([ daemon.ask('users'), daemon.ask('interfaces'), uci.load('mtrelay') ]);
	},

	render: function(data) {
		this.users = data[0];
		this.interfaces = daemon.rows(data[1].doc || {}, 'interface');

		return this.renderForm().then(L.bind(function(node) {
			parts.watch(L.bind(this.refresh, this));
			return node;
		}, this));
	},

	refresh: function() {
		return daemon.ask('users').then(L.bind(function(answer) {
			this.users = answer;
			this.fill(document);
		}, this));
	},

	fill: function(root) {
		const known = byName(this.users.doc);

		Array.prototype.forEach.call(root.querySelectorAll('.mtrelay-live'), function(node) {
			const user = known['=' + node.userName];

			parts.setText(node, node.getAttribute('data-field') === 'traffic' ? traffic(user) : parts.count(user && user.active));
		});
	},

	share: function(section_id) {
		const name = nameOf(section_id);

		return share.open({
			name: name,
			secret: uci.get('mtrelay', section_id, 'secret') || '',
			known: this.users.doc ? byName(this.users.doc)['=' + name] !== undefined : null
		}, reach.where(this.interfaces));
	},

	renderForm: function() {
		const page = this;
		const m = new form.Map('mtrelay');
		const s = m.section(form.GridSection, 'user');
		let o;

		s.anonymous = true;
		s.addremove = true;
		s.nodescriptions = true;
		s.sortable = false;
		s.addbtntitle = _('Add user');
		s.modaltitle = function() { return _('User'); };

		o = schema.bind(s.option(form.Value, 'name', _('Name'), _('Shown in the log and in the counters: short, without spaces.')), schema.user.name);
		o.rmempty = false;
		o.load = function(section_id) { return nameOf(section_id); };
		o.textvalue = function(section_id) { return E('bdi', {}, [ nameOf(section_id) ]); };
		o.validate = function(section_id, value) {
			if (others(section_id).some(function(section) { return nameOf(section['.name']) === value; }))
				return _('Another user has this name');

			return value === '' ? true : schema.user.name.check(value);
		};

		o = schema.bind(s.option(form.Flag, 'enabled', _('Enabled'),
			_('Whether the user is admitted.')), schema.user.enabled);
		o.editable = true;

		o = schema.bind(s.option(form.Value, 'secret', _('Secret'),
			_('Anyone with the secret can use the relay. A new secret makes the old links of this user invalid.')), schema.user.secret);
		o.modalonly = true;
		o.rmempty = false;
		o.password = true;
		o.validate = function(section_id, value) {
			const taken = others(section_id).some(function(section) {
				return String(section.secret).toLowerCase() === String(value).toLowerCase();
			});

			return taken ? _('Another user has this secret') : (value === '' ? true : schema.user.secret.check(value));
		};
		o.renderWidget = function(section_id, option_index, cfgvalue) {
			const option = this;
			const node = form.Value.prototype.renderWidget.call(this, section_id, option_index, cfgvalue || links.newSecret());

			return E('div', {}, [ node, ' ', E('button', {
				'class': 'btn cbi-button cbi-button-neutral mtrelay-draw',
				'disabled': this.map.readonly ? '' : null,
				'click': function(ev) {
					ev.preventDefault();
					option.getUIElement(section_id).setValue(links.newSecret());
					option.getUIElement(section_id).triggerValidation();
				}
			}, [ _('Generate a new secret') ]) ]);
		};

		o = schema.bind(s.option(form.Value, 'expires', _('Last day'), _('The user is admitted until the end of this day, in UTC. Empty: no limit.')),
			schema.user.expires);
		o.modalonly = true;
		o.placeholder = 'YYYY-MM-DD';

		o = schema.bind(s.option(form.Value, 'max_sessions', _('Sessions at once'),
			_('Limit of live sessions of this user. One device opens eight and more. 0: no limit.')),
			schema.user.max_sessions);
		o.modalonly = true;

		o = schema.bind(s.option(form.Value, 'max_ips', _('Addresses at once'),
			_('Limit of client addresses at a time. All devices behind one router count as one. 0: no limit.')),
			schema.user.max_ips);
		o.modalonly = true;

		o = schema.bind(s.option(form.Value, 'quota_mb', _('Traffic allowance in MiB'),
			_('MiB that the user may transfer, up and down together. 0: no limit.')), schema.user.quota_mb);
		o.modalonly = true;

		o = schema.bind(s.option(form.ListValue, 'quota_reset', _('Allowance is reset'),
			_('When the transferred bytes count from zero again: never, or with each calendar month.')), schema.user.quota_reset);
		o.modalonly = true;
		o.depends({ 'quota_mb': '', '!reverse': true });
		o.value('never', _('never'));
		o.value('monthly', _('each month'));

		o = s.option(form.DummyValue, '_sessions', _('Sessions'));
		o.modalonly = false;
		o.textvalue = function(section_id) { return liveCell(nameOf(section_id), 'sessions', metrics.help('users.active')); };

		o = s.option(form.DummyValue, '_traffic', _('Down / up'));
		o.modalonly = false;
		o.textvalue = function(section_id) {
			return liveCell(nameOf(section_id), 'traffic', metrics.help('users.bytes', 'users.quota_used', 'users.quota'));
		};

		o = s.option(form.DummyValue, '_limits', _('Limits'));
		o.modalonly = false;
		o.textvalue = function(section_id) { return E('span', {}, [ limitsOf(section_id) ]); };

		o = s.option(form.DummyValue, '_links', _('Links'));
		o.modalonly = false;
		o.textvalue = function(section_id) {
			return E('button', {
				'class': 'btn cbi-button',
				'click': function(ev) {
					ev.preventDefault();
					return page.share(section_id);
				}
			}, [ _('Show') ]);
		};

		/* LuCI renders the grid again after each change in its dialog, so live cells are filled again. */
		s.render = function() {
			return form.GridSection.prototype.render.apply(this, arguments).then(function(node) {
				page.fill(node);
				return node;
			});
		};

		return m.render().then(function(node) {
			return parts.page([
				E('h2', {}, [ _('Users') ]),
				E('p', { 'class': 'mtrelay-help' }, [ _('One user for each person whose access you may want to disable separately. Links are made from the secret.') ]),
				page.users.fault ? parts.callout('note', daemon.explain(page.users.fault)) : '',
				uci.sections('mtrelay', 'user').length >= SEARCHED_FROM ? page.renderSearch(node) : '',
				node
			], 'users');
		});
	},

	renderSearch: function(node) {
		return E('div', { 'class': 'mtrelay-bar' }, [ E('label', {}, [
			_('Find'),
			E('input', {
				'type': 'text',
				'class': 'cbi-input-text mtrelay-find',
				'input': function(ev) {
					const wanted = ev.target.value.toLowerCase();

					Array.prototype.forEach.call(node.querySelectorAll('tr[data-sid]'), function(row) {
						const name = nameOf(row.getAttribute('data-sid')).toLowerCase();
						row.style.display = name.indexOf(wanted) >= 0 ? '' : 'none';
					});
				}
			})
		]) ]);
	}
});
