// The status page with nothing on it but the box of the relay.
'use strict';
'require view';
'require poll';

const dom = window.standinDom;

return view.extend({
	load: function() {
		return L.require('view.status.include.70_mtrelay');
	},

	render: function(include) {
		const box = E('div', {});
		const refresh = () => include.load().then(data => {
			const content = include.render(data);

			if (content !== null)
				dom.content(box, content);
		});

		return refresh().then(() => {
			poll.add(refresh);
			return E('div', {}, [ E('h3', {}, [ include.title ]), box ]);
		});
	},

	handleSaveApply: null,
	handleSave: null,
	handleReset: null
});
