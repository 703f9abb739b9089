'use strict';
'require view';
'require uci';
'require mtrelay.chart as chart';
'require mtrelay.daemon as daemon';
'require mtrelay.history as history';
'require mtrelay.parts as parts';
'require mtrelay.reach as reach';
'require mtrelay.verdict as verdict';
'require mtrelay.words as words';

const SESSIONS_SHOWN = 20;

/* Everything that is shown per minute too, flat. */
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

function card(title) {
	const big = E('dd', { 'class': 'mtrelay-big' }, [ '-' ]);
	const small = E('dd', { 'class': 'mtrelay-small' }, [ '' ]);

	return {
		node: E('dl', { 'class': 'mtrelay-card' }, [ E('dt', {}, [ title ]), big, small ]),
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

function levelOf(state) {
	return { ok: 'good', shaky: 'note', cooling: 'bad', down: 'bad' }[state] || 'idle';
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
			said.push(' ', _('others first for %ds').format(address.retry_in));
	}

	if (address.state === 'untried')
		said.push(words.state('untried'));

	return E('li', {}, [
		E('span', { 'class': 'mtrelay-dot mtrelay-' + levelOf(address.state), 'aria-hidden': 'true' }),
		E('bdi', { 'dir': 'ltr' }, [ address.address ]), ' ',
		E('span', { 'class': 'mtrelay-faint' }, said)
	]);
}

function dcRow(dc) {
	const addresses = daemon.rows(dc, 'addresses');
	const state = verdict.stateOf(addresses);
	const texts = {
		ok: _('works'), shaky: _('in part'), down: _('does not answer'), untried: _('not tried yet')
	};

	return [
		words.dcName(dc.id),
		parts.badge(levelOf(state), texts[state]),
		E('ul', { 'class': 'mtrelay-addresses' }, addresses.map(addressLine)),
		parts.count(dc.active),
		parts.count(dc.created),
		parts.count(dc.failed),
		parts.count(dc.dc_closed),
		parts.bytes(daemon.at(dc, 'bytes.down')) + ' / ' + parts.bytes(daemon.at(dc, 'bytes.up'))
	];
}

function isShown(dc) {
	/* Test data centres and those that only some clients ask for are listed once somebody used them. */
	return typeof(dc.id) === 'number' && (Math.abs(dc.id) < 10000 || dc.created > 0 || dc.failed > 0);
}

function dcTables(doc) {
	const dcs = daemon.rows(doc, 'dcs').filter(isShown);
	const titles = [
		_('Data centre'), _('State'), _('Addresses'), _('Active'), _('Connections'), _('Failed attempts'), _('Closed by DC'), _('Down / up')
	];
	const main = dcs.filter(function(dc) { return dc.id > 0; });
	const media = dcs.filter(function(dc) { return dc.id < 0; });

	return [
		E('h4', {}, [ _('Messages and everything else') ]),
		parts.table(titles, main.map(dcRow), _('The relay does not say.')),
		E('h4', {}, [ _('Media') ]),
		parts.table(titles, media.map(dcRow), _('Nobody has asked for media yet.'))
	];
}

/* One of the three tables of words. Its cells are changed in place: a tooltip that is being read must not go away. */
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
			E('h4', {}, [ title ]),
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

/* The live sessions, a page at a time: there may be thousands. */
function sessionsBox() {
	const body = E('div', {});
	const box = E('details', {}, [ E('summary', { 'data-key': 'sessions' }, [ _('Live sessions') ]), body ]);
	let offset = 0, total = 0;

	function turn(step) {
		offset = Math.max(0, offset + step);
		return refresh();
	}

	function button(key, text, step, disabled) {
		return E('button', {
			'class': 'btn cbi-button', 'data-key': key, 'disabled': disabled ? '' : null, 'click': function() { turn(step); }
		}, [ text ]);
	}

	function refresh() {
		if (!box.open)
			return Promise.resolve();

		return daemon.ask('sessions', SESSIONS_SHOWN, offset).then(function(answer) {
			if (answer.fault) {
				parts.swap(body, [ E('p', {}, [ daemon.explain(answer.fault) ]) ]);
				return;
			}

			const rows = daemon.rows(answer.doc, 'sessions').slice(0, SESSIONS_SHOWN);
			total = daemon.at(answer.doc, 'total');
			total = typeof(total) === 'number' ? total : offset + rows.length;

			if (!rows.length && offset > 0 && offset >= total) {
				offset = 0;
				return refresh();
			}

			parts.swap(body, [
				parts.table([ _('User'), _('Client'), _('Data centre'), _('Address'), _('Age'), _('Down / up') ], rows.map(function(row) {
					return [
						String(row.user || '-'),
						E('bdi', { 'dir': 'ltr' }, [ String(row.client || '-') ]),
						typeof(row.dc) === 'number' ? words.dcName(row.dc) : '-',
						E('bdi', { 'dir': 'ltr' }, [ String(row.address || '-') ]),
						parts.duration(row.age),
						parts.bytes(daemon.at(row, 'bytes.down')) + ' / ' + parts.bytes(daemon.at(row, 'bytes.up'))
					];
				}), _('No session at this moment.')),
				E('div', { 'class': 'mtrelay-bar' }, [
					button('back', _('Previous'), -SESSIONS_SHOWN, offset === 0),
					E('span', {}, [ _('%d to %d of %d').format(rows.length ? offset + 1 : 0, offset + rows.length, total) ]),
					button('forth', _('Next'), SESSIONS_SHOWN, offset + rows.length >= total)
				])
			]);
		});
	}

	box.addEventListener('toggle', refresh);

	return { node: box, refresh: refresh };
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
		const dcBox = E('div', {});
		const wordBox = E('div', { 'class': 'mtrelay-words' });
		const reachBox = E('div', {});
		const sessions = sessionsBox();
		const cards = {
			sessions: card(_('Sessions')),
			down: card(_('Downloaded')),
			up: card(_('Uploaded')),
			memory: card(_('Memory')),
			uptime: card(_('Running for'))
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
				_('most at once: %s, ever: %s').format(parts.count(at('sessions.peak')), parts.count(at('sessions.total'))));
			cards.down.set(parts.bytes(at('bytes.down')), perMinute('down'));
			cards.up.set(parts.bytes(at('bytes.up')), perMinute('up'));
			cards.memory.set(at('memory.rss_kib') === null ? '-' : parts.bytes(at('memory.rss_kib') * 1024),
				ceiling ? _('buffers: %d of %d in use').format(at('buffers.in_use'), at('buffers.count')) : '');
			cards.uptime.set(parts.duration(at('uptime')), at('version') ? _('version %s').format(at('version')) : '');
		}

		function showWords(status) {
			if (!tables) {
				tables = [
					wordTable('connect_failures', _('Attempts that failed'), _('Single attempts at single addresses; the next address is then tried.'),
						daemon.at(status, 'connect_failures')),
					wordTable('closes', _('How sessions ended'), _('One reason for each session.'), daemon.at(status, 'closes')),
					wordTable('rejects', _('Handshakes refused'), _('Nobody came in by these.'), daemon.at(status, 'rejects'))
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
				/* What was seen last stays below: it is better than nothing. */
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

			return sessions.refresh();
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
			sessions.node
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
