'use strict';
'require view';
'require form';
'require uci';
'require ui';
'require mtrelay.daemon as daemon';
'require mtrelay.parts as parts';
'require mtrelay.schema as schema';
'require mtrelay.verdict as verdict';
'require mtrelay.words as words';

function addressesOf(dc) {
	return dc.addresses.map(function(row) { return String(row.address); });
}

function addressList(addresses) {
	return E('ul', { 'class': 'mtrelay-addresses' }, addresses.map(function(address) {
		return E('li', {}, [ E('bdi', { 'dir': 'ltr' }, [ address ]) ]);
	}));
}

function milliseconds(value) {
	return typeof(value) === 'number' ? _('%d ms').format(value) : '-';
}

/* The answer of `check` as a table: each address with its connect time and the time of the data centre's answer. */
function resultTable(doc) {
	const rows = daemon.rows(doc, 'addresses');
	const good = rows.filter(function(row) { return !row.error; });

	/* Without addresses, the daemon's own verdict is all there is. */
	if (!rows.length)
		return E('p', {}, [ String(doc.verdict || _('There was no address to try.')) ]);

	return E('div', {}, [
		parts.badge(good.length === rows.length ? 'good' : (good.length ? 'note' : 'bad'), _('%d of %d addresses answer').format(good.length, rows.length)),
		parts.table([
			[ _('Address'), 4 ], [ _('Connected in') ], [ _('Answered in') ], [ _('Error'), 2 ]
		], rows.map(function(row) {
			return [
				E('bdi', { 'dir': 'ltr' }, [ String(row.address) ]),
				milliseconds(row.connect_ms),
				milliseconds(row.answer_ms),
				row.error ? parts.term(String(row.error), words.meaning('connect_failures', row.error)) : parts.badge('good', _('none'))
			];
		}))
	]);
}

return view.extend({
	load: function() {
		return Promise.all([ daemon.rights(), daemon.ask('dcs'), uci.load('mtrelay') ]);
	},

	render: function(data) {
		const rights = data[0], answer = data[1];
		const children = [
			E('h2', {}, [ _('Data centres') ]),
			E('p', { 'class': 'mtrelay-help' }, [
				_('Telegram has five data centres that hold accounts. Their addresses are built in and rarely change.')
			])
		];

		if (answer.fault)
			children.push(parts.callout(answer.fault.kind === 'absent' ? 'note' : 'bad', daemon.explain(answer.fault)));
		else
			children.push(this.renderInUse(answer.doc, rights));

		return this.renderForm(answer.doc || {}).then(function(node) {
			return parts.page(children.concat([ node ]), 'dcs');
		});
	},

	/* A test takes up to 10 s, and the daemon runs one at a time. */
	test: function(id, box, ev) {
		const button = ev.currentTarget;

		parts.swap(box, E('p', { 'class': 'spinning' }, [ _('Trying every address of %s').format(words.dcName(id)) ]));
		button.disabled = true;

		return daemon.ask('check', id).then(function(answer) {
			button.disabled = false;
			button.focus();
			parts.swap(box, [ E('h4', {}, [ words.dcName(id) ]), answer.fault
				? parts.callout('bad', daemon.explain(answer.fault))
				: resultTable(answer.doc) ]);
		});
	},

	renderInUse: function(doc, rights) {
		const page = this;
		const results = E('div', { 'aria-live': 'polite', 'class': 'mtrelay-results' });
		const own = uci.sections('mtrelay', 'dc').map(function(section) { return String(section.id); });
		const columns = [ [ _('Data centre'), 2 ], [ _('State'), 2 ], [ _('Addresses'), 4 ], [ _('Source'), 2 ] ];
		const rows = verdict.read(doc).filter(words.isListed).map(function(dc) {
			const cells = [
				words.dcName(dc.id),
				parts.badge(words.levelOf(dc.state), words.state(dc.state)),
				dc.borrows ? E('span', { 'class': 'mtrelay-faint' }, [ _('as %s').format(words.dcName(-dc.id)) ]) : addressList(addressesOf(dc)),
				own.indexOf(String(dc.borrows ? -dc.id : dc.id)) >= 0 ? _('yours') : _('built in')
			];

			if (rights.change) {
				cells.push(E('button', {
					'class': 'btn cbi-button cbi-button-action',
					'aria-label': _('Test %s').format(words.dcName(dc.id)),
					'click': function(ev) { return page.test(dc.id, results, ev); }
				}, [ _('Test') ]));
			}

			return cells;
		});

		if (rights.change)
			columns.push([ '', 2 ]);

		return parts.section(_('In use now'), [ results, parts.table(columns, rows, _('The relay reported no data centre.')) ],
			rights.change ? _('A test connects to every address and waits for the answer that only a data centre can give.') : null);
	},

	renderForm: function(doc) {
		const m = new form.Map('mtrelay');
		const s = m.section(form.GridSection, 'dc', _('Addresses of your own'),
			_('They replace the built-in addresses of that number. Needed only if Telegram changes an address, or for a tunnel of your own.'));
		const known = {};
		let o;

		verdict.read(doc).forEach(function(dc) { known[dc.id] = addressesOf(dc); });

		s.anonymous = true;
		s.addremove = true;
		s.nodescriptions = true;
		s.sortable = false;
		s.addbtntitle = _('Replace addresses');
		/* `delbtntitle` in newer LuCI, `removebtntitle` in older. */
		s.delbtntitle = s.removebtntitle = function() { return _('Reset to built-in'); };
		s.modaltitle = function() { return _('Data centre'); };

		o = schema.bind(s.option(form.Value, 'id', _('Number'),
			_('Number of a data centre: 1 to 5; with a minus sign for media (without an entry, media takes the addresses of the plain number); 203 for files of channels.')),
			schema.dc.id);
		o.rmempty = false;
		o.textvalue = function(section_id) {
			const id = uci.get('mtrelay', section_id, 'id');
			/* A hand-written file may hold an id that is not a number. */
			return E('span', {}, [ schema.dc.id.check(String(id)) === true ? words.dcName(+id) : String(id || _('none')) ]);
		};
		[ 1, 2, 3, 4, 5, -1, -2, -3, -4, -5, 203, -203 ].forEach(function(id) { o.value(String(id), words.dcName(id)); });
		o.validate = function(section_id, value) {
			const taken = uci.sections('mtrelay', 'dc').some(function(section) {
				return section['.name'] !== section_id && String(section.id) === String(value);
			});

			return taken ? _('This data centre is listed already') : (value === '' ? true : schema.dc.id.check(value));
		};
		/* Fills the addresses in use as a starting point. */
		o.onchange = function(ev, section_id, value) {
			const list = this.map.lookupOption('address', section_id);
			const widget = list ? list[0].getUIElement(section_id) : null;
			const from = known[value] || known[Math.abs(+value)];

			if (widget && from && !L.toArray(widget.getValue()).length)
				widget.setValue(from);
		};

		o = schema.bind(s.option(form.DynamicList, 'address', _('Addresses'), _('Addresses of the data centre, each with its port; IPv6 in brackets.')), schema.dc.address);
		o.rmempty = false;
		o.placeholder = '149.154.167.51:443';
		o.textvalue = function(section_id) {
			return addressList(L.toArray(uci.get('mtrelay', section_id, 'address')));
		};

		return m.render();
	}
});
