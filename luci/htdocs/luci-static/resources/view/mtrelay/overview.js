'use strict';
'require view';
'require uci';
'require mtrelay.chart as chart';
'require mtrelay.daemon as daemon';
'require mtrelay.history as history';
'require mtrelay.metrics as metrics';
'require mtrelay.parts as parts';
'require mtrelay.reach as reach';
'require mtrelay.verdict as verdict';
'require mtrelay.words as words';

const ROWS_SHOWN = 20;

/* The counters that are also shown per minute, as a flat table. */
function countersOf(status) {
	const counters = {
		up: daemon.at(status, 'bytes.up') || 0,
		down: daemon.at(status, 'bytes.down') || 0,
		sessions: daemon.at(status, 'sessions.total')
	};

	[ 'closes', 'connect_failures', 'rejects' ].forEach(function(set) {
		const table = daemon.at(status, set) || {};

		Object.keys(table).forEach(function(word) {
			counters[set + '.' + word] = table[word];
		});
	});

	return counters;
}

function card(title, help) {
	const big = E('dd', { 'class': 'mtrelay-big' }, [ '-' ]);
	const small = E('dd', { 'class': 'mtrelay-small' }, [ '' ]);

	return {
		node: E('dl', { 'class': 'mtrelay-card' }, [ E('dt', {}, [ parts.term(title, help) ]), big, small ]),
		set: function(bigText, smallText) {
			parts.setText(big, bigText);
			parts.setText(small, smallText);
		}
	};
}

function noteList(notes) {
	return E('ul', { 'class': 'mtrelay-notes' }, notes.map(function(note) {
		return E('li', { 'class': 'mtrelay-' + note.level }, [ note.text ]);
	}));
}

function addressLine(address) {
	const said = [];

	if (address.state === 'ok' && typeof(address.rtt_ms) === 'number')
		said.push(_('%d ms').format(address.rtt_ms));

	if (address.state === 'cooling') {
		said.push(words.meaning('connect_failures', address.last_error)
			? parts.term(address.last_error, words.meaning('connect_failures', address.last_error))
			: (address.last_error || words.state('cooling')));

		if (typeof(address.retry_in) === 'number')
			said.push(' ', _('not preferred for another %ds').format(address.retry_in));
	}

	if (address.state === 'untried')
		said.push(words.state('untried'));

	return E('li', {}, [
		E('span', { 'class': 'mtrelay-dot mtrelay-' + words.levelOf(address.state), 'aria-hidden': 'true' }),
		E('bdi', { 'dir': 'ltr' }, [ address.address ]), ' ',
		E('span', { 'class': 'mtrelay-faint' }, said)
	]);
}

function dcRow(dc) {
	const row = dc.row;

	return [
		words.dcName(dc.id),
		parts.badge(words.levelOf(dc.state), words.state(dc.state)),
		dc.borrows
			? E('span', { 'class': 'mtrelay-faint' }, [ _('as %s').format(words.dcName(-dc.id)) ])
			: E('ul', { 'class': 'mtrelay-addresses' }, dc.addresses.map(addressLine)),
		parts.count(row.active),
		parts.count(row.created),
		parts.count(row.failed),
		parts.count(row.dc_closed),
		downUp(row)
	];
}

function dcTables(doc) {
	const dcs = verdict.read(doc).filter(words.isListed);
	const columns = [
		[ _('Data centre'), 2 ], [ _('State'), 2 ],
		[ _('Addresses'), 4, metrics.help('addresses.state', 'addresses.rtt_ms', 'addresses.retry_in') ],
		[ _('Active'), 1, metrics.help('dcs.active') ], [ _('Total'), 1, metrics.help('dcs.created') ],
		[ _('Failed'), 1, metrics.help('dcs.failed') ], [ _('Closed by DC'), 1, metrics.help('dcs.dc_closed') ],
		[ _('Down / up'), 4, metrics.help('dcs.bytes') ]
	];
	const main = dcs.filter(function(dc) { return !dc.media; });
	const media = dcs.filter(function(dc) { return dc.media; });

	return [
		E('h4', {}, [ _('Messages and all but media') ]),
		parts.table(columns, main.map(dcRow), _('The relay reported no data centre.')),
		E('h4', {}, [ _('Media') ]),
		parts.table(columns, media.map(dcRow), _('No client has asked for media yet.'))
	];
}

/* One table of counters. Cells are changed in place, so that an open tooltip stays. */
function wordTable(set, title, help, counters) {
	const cells = {};
	const hasSide = set === 'closes';
	const rows = words.ordered(set, counters).map(function(word) {
		const total = E('td', { 'class': 'mtrelay-number' }, [ '-' ]);
		const minute = E('td', { 'class': 'mtrelay-number' }, [ '-' ]);
		const row = E('tr', {}, [
			E('th', { 'scope': 'row' }, [ parts.term(word, words.meaning(set, word)) ]),
			hasSide ? E('td', {}, [ words.sideOf(word) ]) : '',
			total,
			minute
		]);

		cells[word] = { row: row, total: total, minute: minute };

		return row;
	});

	return {
		node: E('div', {}, [
			E('h4', {}, [ parts.term(title, metrics.help(set)) ]),
			E('p', { 'class': 'mtrelay-help' }, [ help ]),
			E('table', {}, [
				E('thead', {}, [ E('tr', {}, [
					E('th', { 'scope': 'col' }, [ _('Reason') ]),
					hasSide ? E('th', { 'scope': 'col' }, [ _('By') ]) : '',
					E('th', { 'scope': 'col', 'class': 'mtrelay-number' }, [ _('Since start') ]),
					E('th', { 'scope': 'col', 'class': 'mtrelay-number' }, [ _('Per minute') ])
				]) ]),
				E('tbody', {}, rows)
			])
		]),
		set: function(status) {
			const table = daemon.at(status, set) || {};

			Object.keys(cells).forEach(function(word) {
				parts.setText(cells[word].total, parts.count(table[word]));
				parts.setText(cells[word].minute, parts.perMinute(history.perMinute(set + '.' + word)));
				cells[word].row.className = table[word] ? '' : 'mtrelay-zero';
			});
		}
	};
}

function downUp(row) {
	return parts.bytes(daemon.at(row, 'bytes.down')) + ' / ' + parts.bytes(daemon.at(row, 'bytes.up'));
}

/* A table that is asked for while it is open, and shown a page at a time: there may be thousands of rows. */
function drawer(key, title, load) {
	const body = E('div', {});
	const box = E('details', {}, [ E('summary', { 'data-key': key }, [ title ]), body ]);
	let offset = 0;

	function button(name, text, step, disabled) {
		return E('button', {
			'class': 'btn cbi-button',
			'data-key': key + '-' + name,
			'disabled': disabled ? '' : null,
			'click': function() {
				offset = Math.max(0, offset + step);
				return refresh();
			}
		}, [ text ]);
	}

	function refresh() {
		if (!box.open)
			return Promise.resolve();

		return load(offset).then(function(found) {
			if (found.fault) {
				parts.swap(body, E('p', {}, [ daemon.explain(found.fault) ]));
				return;
			}

			/* The page that was looked at is gone. */
			if (!found.shown && offset > 0) {
				offset = 0;
				return refresh();
			}

			parts.swap(body, [ found.node, found.total > ROWS_SHOWN ? E('div', { 'class': 'mtrelay-bar' }, [
				button('back', _('Previous'), -ROWS_SHOWN, offset === 0),
				E('span', {}, [ _('%d to %d of %d').format(offset + 1, offset + found.shown, found.total) ]),
				button('forth', _('Next'), ROWS_SHOWN, offset + found.shown >= found.total)
			]) : '' ].filter(function(node) { return node !== ''; }));
		});
	}

	box.addEventListener('toggle', refresh);

	return { node: box, refresh: refresh };
}

function loadSessions(offset) {
	return daemon.ask('sessions', ROWS_SHOWN, offset).then(function(answer) {
		const rows = daemon.rows(answer.doc || {}, 'sessions').slice(0, ROWS_SHOWN);
		const total = daemon.at(answer.doc || {}, 'total');

		return {
			fault: answer.fault,
			shown: rows.length,
			total: typeof(total) === 'number' ? total : offset + rows.length,
			node: parts.table([
				[ _('User'), 2 ], [ _('Client'), 2 ], [ _('Data centre'), 2 ], [ _('Address'), 2 ], [ _('Age'), 2 ], [ _('Down / up'), 2 ]
			], rows.map(function(row) {
				return [
					E('bdi', {}, [ String(row.user || '-') ]),
					E('bdi', { 'dir': 'ltr' }, [ String(row.client || '-') ]),
					typeof(row.dc) === 'number' ? words.dcName(row.dc) : '-',
					E('bdi', { 'dir': 'ltr' }, [ String(row.address || '-') ]),
					parts.duration(row.age),
					downUp(row)
				];
			}), _('No session at this moment.'))
		};
	});
}

function loadUsers(offset) {
	return daemon.ask('users').then(function(answer) {
		const all = daemon.rows(answer.doc || {}, 'users');
		const rows = all.sort(function(a, b) {
			return (b.active || 0) - (a.active || 0) || (daemon.at(b, 'bytes.down') || 0) - (daemon.at(a, 'bytes.down') || 0);
		}).slice(offset, offset + ROWS_SHOWN);

		return {
			fault: answer.fault,
			shown: rows.length,
			total: all.length,
			node: parts.table([
				[ _('Name'), 2 ], [ _('Sessions'), 1, metrics.help('users.active') ], [ _('Total'), 1, metrics.help('users.total') ],
				[ _('Down / up'), 2, metrics.help('users.bytes') ], [ _('Refused'), 1, metrics.help('users.rejects') ], [ _('Last day') ]
			], rows.map(function(row) {
				return [
					E('bdi', {}, [ String(row.name) ]), parts.count(row.active), parts.count(row.total), downUp(row),
					parts.count(row.rejects), words.technical(row.expires || '-')
				];
			}), _('There is no user yet.'))
		};
	});
}

return view.extend({
	load: function() {
		return daemon.rights().then(function(rights) {
			const config = rights.look
				? Promise.all([ L.resolveDefault(uci.load('mtrelay')), L.resolveDefault(uci.load('firewall')) ])
				: null;

			return Promise.all([ rights, daemon.ask('status'), daemon.ask('dcs'), config ]);
		});
	},

	render: function(data) {
		const rights = data[0];
		const verdictBox = E('div', { 'class': 'mtrelay-verdict' });
		const whole = E('div', {});
		const chartBox = E('div', { 'class': 'mtrelay-chart' });
		const dcBox = E('div', { 'class': 'mtrelay-dcs' });
		const wordBox = E('div', { 'class': 'mtrelay-words' });
		const reachBox = E('div', {});
		const drawers = [ drawer('sessions', _('Live sessions'), loadSessions), drawer('users', _('Users'), loadUsers) ];
		const cards = {
			sessions: card(_('Sessions'), metrics.help('sessions.active', 'sessions.peak', 'sessions.total')),
			down: card(_('Downloaded'), metrics.help('bytes')),
			up: card(_('Uploaded'), metrics.help('bytes')),
			memory: card(_('Memory'), metrics.help('memory.rss_kib', 'buffers.in_use', 'buffers.count')),
			uptime: card(_('Running for'), metrics.help('uptime'))
		};
		let tables = null, lastVerdict = null, lastDcs = null;

		history.restore(Date.now());

		function showVerdict(said) {
			const text = JSON.stringify(said);

			if (text !== lastVerdict)
				parts.swap(verdictBox, parts.callout(said.level, said.text, said.notes.length ? [ noteList(said.notes) ] : []));

			lastVerdict = text;
		}

		function showAbsence(fault) {
			whole.style.display = 'none';

			return parts.absence(fault, rights, refresh).then(function(node) {
				lastVerdict = null;
				parts.swap(verdictBox, node);
			});
		}

		function showCards(status) {
			const at = function(path) { return daemon.at(status, path); };
			const ceiling = at('buffers.size') * at('buffers.count');
			const perMinute = function(name) {
				const value = history.perMinute(name);
				return value === null ? '' : _('%s per minute').format(parts.bytes(Math.round(value)));
			};

			cards.sessions.set(parts.count(at('sessions.active')),
				_('peak: %s, total: %s').format(parts.count(at('sessions.peak')), parts.count(at('sessions.total'))));
			cards.down.set(parts.bytes(at('bytes.down')), perMinute('down'));
			cards.up.set(parts.bytes(at('bytes.up')), perMinute('up'));
			cards.memory.set(at('memory.rss_kib') === null ? '-' : parts.bytes(at('memory.rss_kib') * 1024),
				ceiling ? _('buffers: %d of %d in use').format(at('buffers.in_use'), at('buffers.count')) : '');
			cards.uptime.set(parts.duration(at('uptime')), at('version') ? _('version %s').format(words.technical(at('version'))) : '');
		}

		function showWords(status) {
			if (!tables) {
				tables = [
					wordTable('connect_failures', _('Attempts that failed'), _('Attempts to connect to one address. The other addresses of the data centre are raced with it.'),
						daemon.at(status, 'connect_failures')),
					wordTable('closes', _('How sessions ended'), _('One reason for each session.'), daemon.at(status, 'closes')),
					wordTable('rejects', _('Handshakes refused'), _('Connections that were refused before a session began.'), daemon.at(status, 'rejects'))
				];
				parts.swap(wordBox, tables.map(function(table) { return table.node; }));
			}

			tables.forEach(function(table) { table.set(status); });
		}

		function show(status, dcs) {
			const now = Date.now();

			whole.style.display = '';

			if (status.fault && status.fault.kind === 'absent')
				return showAbsence(status.fault);

			if (status.fault) {
				/* The last known figures stay below. */
				showVerdict({ level: 'bad', text: daemon.explain(status.fault), notes: [] });
				return;
			}

			history.add(now, daemon.at(status.doc, 'uptime') || 0, countersOf(status.doc));
			history.save();
			showVerdict(verdict.of(status.doc, dcs.doc || {}));
			showCards(status.doc);
			chart.draw(chartBox, now);
			showWords(status.doc);

			if (dcs.fault)
				parts.swap(dcBox, E('p', {}, [ daemon.explain(dcs.fault) ]));
			else if (JSON.stringify(dcs.doc) !== lastDcs)
				parts.swap(dcBox, dcTables(dcs.doc));

			lastDcs = dcs.fault ? null : JSON.stringify(dcs.doc);

			return Promise.all(drawers.map(function(each) { return each.refresh(); }));
		}

		function refresh() {
			return Promise.all([ daemon.ask('status'), daemon.ask('dcs') ]).then(function(answers) {
				return show(answers[0], answers[1]);
			});
		}

		function showReach() {
			return daemon.ask('interfaces').then(function(answer) {
				const interfaces = daemon.rows(answer.doc || {}, 'interface');

				parts.swap(reachBox, parts.section(_('Can it be reached?'), [ noteList(reach.describe(interfaces)) ]));
			});
		}

		[
			E('div', { 'class': 'mtrelay-cards' }, Object.keys(cards).map(function(name) { return cards[name].node; })),
			parts.section(_('Throughput'), [ chartBox ]),
			reachBox,
			parts.section(_('Data centres'), [ dcBox ]),
			parts.section(_('Failures and endings'), [ wordBox ], _('The words are those of the log and of the metrics; point at one, or tap it, to see what it means.')),
			parts.section(_('Details'), drawers.map(function(each) { return each.node; }))
		].forEach(function(node) { whole.appendChild(node); });

		const page = parts.page([ E('h2', {}, [ _('MTProto Relay') ]), verdictBox, whole ], 'overview');

		return Promise.all([ show(data[1], data[2]), rights.look ? showReach() : null ]).then(function() {
			parts.watch(refresh);
			return page;
		});
	},

	handleSaveApply: null,
	handleSave: null,
	handleReset: null
});
