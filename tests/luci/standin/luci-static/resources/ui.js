// Dialogs, notes, tooltips, and the way from saved changes to applied ones.
'use strict';
'require baseclass';

const dom = window.standinDom;

let dialog = null;

function request(path) {
	return fetch(L.url('admin/uci', path), { method: 'POST' });
}

const tooltip = E('div', { 'class': 'cbi-tooltip', 'style': 'display: none' });

document.body.appendChild(tooltip);
[ 'mouseover', 'focusin' ].forEach(kind => document.addEventListener(kind, ev => {
	const node = ev.target.closest ? ev.target.closest('[data-tooltip]') : null;

	tooltip.style.display = node ? '' : 'none';
	tooltip.textContent = node ? node.getAttribute('data-tooltip') : '';
}));

return baseclass.extend({
	createHandlerFn: function(self, handler, ...args) {
		const fn = typeof(handler) === 'string' ? self[handler] : handler;

		if (typeof(fn) !== 'function')
			throw new TypeError('createHandlerFn: no function');

		return ev => {
			const button = ev.currentTarget;

			button.disabled = true;
			return Promise.resolve(fn.call(self, ...args, ev)).finally(() => { button.disabled = false; });
		};
	},

	addNotification: function(title, children, ...classes) {
		const note = E('div', { 'class': [ 'alert-message', ...classes ].join(' ') }, [
			title === null ? '' : E('h4', {}, title)
		]);

		dom.append(note, children);
		document.getElementById('maincontent').prepend(note);
		return note;
	},

	showModal: function(title, children, ...classes) {
		this.hideModal();

		const inner = E('div', { 'class': [ 'modal', ...classes ].join(' '), 'role': 'dialog', 'aria-modal': 'true', 'tabindex': '-1' }, [
			E('h4', {}, title)
		]);

		dom.append(inner, children);
		dialog = E('div', { 'id': 'modal_overlay' }, [ inner ]);
		document.body.appendChild(dialog);
		document.body.classList.add('modal-overlay-active');

		return inner;
	},

	hideModal: function() {
		if (dialog)
			dialog.remove();

		dialog = null;
		document.body.classList.remove('modal-overlay-active');
	},

	changes: {
		apply: function() {
			return request('apply_rollback').then(answer => {
				if (answer.status === 204)
					return;

				if (answer.status !== 200)
					throw new Error('apply failed with ' + answer.status);

				return request('confirm').then(() => {
					document.dispatchEvent(new CustomEvent('uci-applied'));
					window.location.reload();
				});
			});
		}
	}
});
