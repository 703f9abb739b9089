'use strict';
'require baseclass';
'require poll';
'require ui';
'require mtrelay.daemon as daemon';
'require mtrelay.words as words';

/*
 * Building blocks of the pages. Text is always handed over inside of an array: LuCI makes text nodes of that, while a
 * bare string would be read as markup.
 */

const ICONS = { good: '\u2713', note: '!', bad: '\u2715', idle: '\u2026' };

function callout(level, text, more) {
	return E('div', { 'class': 'mtrelay-callout mtrelay-' + level, 'role': level === 'bad' ? 'alert' : 'status' }, [
		E('span', { 'class': 'mtrelay-icon', 'aria-hidden': 'true' }, [ ICONS[level] ]),
		E('div', {}, [ E('p', { 'class': 'mtrelay-said' }, [ text ]) ].concat(more || []))
	]);
}

function setText(node, text) {
	if (node.firstChild && node.firstChild === node.lastChild && node.firstChild.nodeType === 3) {
		if (node.firstChild.data !== text)
			node.firstChild.data = text;

		return;
	}

	while (node.firstChild)
		node.removeChild(node.firstChild);

	node.appendChild(document.createTextNode(text));
}

/* A word with its meaning as a tooltip, reachable by mouse, keyboard and touch. */
function term(word, meaning) {
	return E('span', {
		'class': meaning ? 'mtrelay-term' : null,
		'data-tooltip': meaning,
		'aria-description': meaning,
		'tabindex': meaning ? '0' : null
	}, [ word ]);
}

return baseclass.extend({
	callout: callout,
	setText: setText,

	/* The root of a page: its style sheet, and the direction of its language. */
	page: function(children, name) {
		/* The version that LuCI adds to scripts: after an upgrade the browser must not use the cached style sheet. */
		const version = L.env.resource_version ? '?v=' + L.env.resource_version : '';

		return E('div', {
			'class': 'mtrelay mtrelay-' + name,
			'dir': words.isRightToLeft() ? 'rtl' : null
		}, [ E('link', { 'rel': 'stylesheet', 'href': L.resource('mtrelay/mtrelay.css') + version }) ].concat(children));
	},

	section: function(title, children, help) {
		return E('div', { 'class': 'cbi-section' }, [
			E('h3', {}, [ title ]),
			help ? E('p', { 'class': 'mtrelay-help' }, [ help ]) : ''
		].concat(children));
	},

	/* A number as text, a dash if it is unknown. */
	count: function(value) {
		return typeof(value) === 'number' ? String(value) : '-';
	},

	bytes: function(value) {
		return typeof(value) === 'number' ? words.technical('%1024.1mB'.format(value)) : '-';
	},

	/* A rate with at most one decimal. */
	perMinute: function(value) {
		if (typeof(value) !== 'number')
			return '-';

		return value > 0 && value < 10 ? String(Math.round(value * 10) / 10) : String(Math.round(value));
	},

	duration: function(seconds) {
		return typeof(seconds) === 'number' ? words.technical('%t'.format(seconds)) : '-';
	},

	term: term,

	badge: function(level, text) {
		return E('span', { 'class': 'mtrelay-badge mtrelay-' + level }, [ text ]);
	},

	/*
	 * columns: [ title, span, help ]. The span is the width of the cell on a phone, in quarters of the screen; the help is the tooltip of
	 * the title. rows: arrays of texts, nodes or arrays of them. The classes are our own: each theme of LuCI lays tables out differently.
	 */
	table: function(columns, rows, empty) {
		const body = rows.map(function(cells) {
			return E('tr', {}, cells.map(function(cell, at) {
				return E('td', { 'data-title': columns[at][0], 'class': 'mtrelay-span' + (columns[at][1] || 1) }, [].concat(cell));
			}));
		});

		if (!body.length)
			return E('p', { 'class': 'mtrelay-faint' }, [ E('em', {}, [ empty || '' ]) ]);

		return E('table', { 'class': 'mtrelay-table' }, [
			E('thead', {}, [ E('tr', {}, columns.map(function(column) {
				return E('th', { 'scope': 'col' }, [ term(column[0], column[2] || null) ]);
			})) ]),
			E('tbody', {}, body)
		]);
	},

	/* Replaces the children of a node and restores the focus to the element with the same data-key. */
	swap: function(container, nodes) {
		const active = document.activeElement;
		const key = container.contains(active) ? active.getAttribute('data-key') : null;

		while (container.firstChild)
			container.removeChild(container.firstChild);

		[].concat(nodes).forEach(function(node) { container.appendChild(node); });

		if (key !== null) {
			Array.prototype.forEach.call(container.querySelectorAll('[data-key]'), function(node) {
				if (node.getAttribute('data-key') === key)
					node.focus();
			});
		}
	},

	/* Calls `refresh` every `seconds` (default: LuCI's own poll interval) while the page is visible. */
	watch: function(refresh, seconds) {
		let busy = false;
		const step = function() {
			if (document.hidden || busy)
				return Promise.resolve();

			busy = true;

			return Promise.resolve(refresh()).then(function() {
				busy = false;
			}, function(error) {
				busy = false;
				throw error;
			});
		};

		document.addEventListener('visibilitychange', function() {
			if (!document.hidden && poll.active())
				step();
		});
		poll.add(step, seconds);
	},

	/*
	 * The content of a page while the daemon cannot be asked. `started` is called after a successful start.
	 */
	absence: function(fault, rights, started) {
		if (fault.kind !== 'absent')
			return Promise.resolve(callout('bad', daemon.explain(fault)));

		return daemon.service().then(function(service) {
			if (service && !service.installed)
				return callout('bad', _('The relay is not installed: the package mtrelay is missing.'));

			const start = E('button', {
				'class': 'btn cbi-button cbi-button-apply',
				'data-key': 'start',
				'click': ui.createHandlerFn(null, function() {
					return daemon.ask('service', 'mtrelay', 'start').then(function(answer) {
						if (answer.fault)
							ui.addNotification(null, [ E('p', {}, [ daemon.explain(answer.fault) ]) ], 'danger');
						else
							return started();
					});
				})
			}, [ _('Start') ]);
			const running = service && service.running;
			const hint = running
				? _('Its process is running but has not registered on ubus yet. If this does not change, the log says why.')
				: _('Clients cannot connect. If the relay stops again after a start, the log says why; it may also be disabled in Settings.');

			return callout('bad', running ? _('The relay does not answer.') : _('The relay is not running.'), [
				E('p', {}, [ hint ]),
				rights.change && !running ? E('p', {}, [ start ]) : ''
			]);
		});
	}
});
