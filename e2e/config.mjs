// Configurations of the tests, as values. Port 0 asks the system for a free one; the server says which it got.

const ALL = { publish: true, subscribe: true, call: true, register: true };

/** A role that may do everything, and may say who it is where it wants to. */
export const role = (name) => ({
  name,
  permissions: [{ uri: '', match: 'prefix', allow: ALL, disclose: { caller: true, publisher: true } }],
});

const endpoint = () => ({ type: 'tcp', interface: '127.0.0.1', port: 0 });

/** A node with one web transport: WebSocket on `ws`, unsigned pusher on `push`, and whatever else is asked for. */
export const web = ({ auth, paths = {} } = {}) => ({
  version: 2,
  workers: [
    {
      type: 'router',
      realms: [{ name: 'realm1', roles: ['anonymous', 'frontend', 'backend'].map(role) }],
      transports: [
        {
          type: 'web',
          endpoint: endpoint(),
          paths: {
            ws: auth ? { type: 'websocket', auth } : { type: 'websocket' },
            push: { type: 'publisher', realm: 'realm1', role: 'anonymous' },
            ...paths,
          },
        },
      ],
    },
  ],
});
