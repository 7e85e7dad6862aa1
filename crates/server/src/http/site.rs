//! The paths of one transport.

use std::sync::Arc;

use super::{
    AdminService, CallService, Files, HubService, JsonPage, NodeInfo, PushService, StatusPage, StreamService,
    TopicService, WatchService,
};
use crate::socket::SocketService;

/// What answers below one path.
#[derive(Debug)]
pub enum Service {
    /// Files of a directory.
    Files(Files),
    /// WebSocket.
    Socket(Arc<SocketService>, StatusPage),
    /// The HTTP pusher.
    Push(Arc<PushService>),
    /// HTTP to a procedure.
    Call(Arc<CallService>),
    /// A fixed place elsewhere.
    Redirect(String),
    /// A fixed JSON value.
    Json(JsonPage),
    /// What this node is.
    NodeInfo(NodeInfo),
    /// The built-in demo page and its client.
    Demo,
    /// Metrics or health.
    Watch(WatchService),
    /// A WebSub hub.
    Hub(Arc<HubService>),
    /// The administration of the hubs.
    Admin(Arc<AdminService>),
    /// Topics of a hub.
    Topic(TopicService),
    /// A stream of any topic of a hub.
    Stream(StreamService),
}

#[derive(Debug)]
struct Route {
    segments: Vec<String>,
    service: Arc<Service>,
}

/// The paths of one transport and what answers on them.
#[derive(Debug, Default)]
pub struct Site {
    routes: Vec<Route>,
}

impl Site {
    /// Puts a service on a path; `/` is everything that no other path takes.
    pub fn add(&mut self, path: &str, service: Service) {
        let segments: Vec<String> = segments(path).map(str::to_owned).collect();
        self.routes.push(Route { segments, service: Arc::new(service) });
        // The longest path comes first, so that the first match is the right one.
        self.routes.sort_by_key(|route| std::cmp::Reverse(route.segments.len()));
    }

    /// The service of a request's path, and the rest of that path without a slash in front.
    #[must_use]
    pub fn find<'p>(&self, path: &'p str) -> Option<(&Arc<Service>, &'p str)> {
        self.find_route(path).map(|(route, rest)| (&route.service, rest))
    }

    /// Whether a path has a service of its own, not just that of `/`.
    #[must_use]
    pub fn claims(&self, path: &str) -> bool {
        self.find_route(path).is_some_and(|(route, _)| !route.segments.is_empty())
    }

    fn find_route<'p>(&self, path: &'p str) -> Option<(&Route, &'p str)> {
        self.routes.iter().find_map(|route| {
            let mut rest = path.trim_start_matches('/');
            for segment in &route.segments {
                let (first, behind) = rest.split_once('/').unwrap_or((rest, ""));
                if first != segment {
                    return None;
                }
                rest = behind;
            }
            Some((route, rest))
        })
    }

    /// Every service with its path.
    pub fn services(&self) -> impl Iterator<Item = (String, &Arc<Service>)> {
        self.routes.iter().map(|route| (route.segments.join("/"), &route.service))
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_path_wins() {
        let mut site = Site::default();
        for path in ["/", "push", "api/v1", "api"] {
            site.add(path, Service::Redirect(path.to_owned()));
        }
        let check = |path: &str, expected: (&str, &str)| {
            let (service, rest) = site.find(path).unwrap();
            let Service::Redirect(name) = &**service else { panic!() };
            assert_eq!((name.as_str(), rest), expected, "{path}");
        };
        check("/", ("/", ""));
        check("/push", ("push", ""));
        check("/push/", ("push", ""));
        check("/push/a/b", ("push", "a/b"));
        check("/pushed", ("/", "pushed"));
        check("/api/v1/x", ("api/v1", "x"));
        check("/api/v2", ("api", "v2"));
        assert!(site.claims("/api/v2") && !site.claims("/pushed"));
        assert!(Site::default().find("/").is_none() && !Site::default().claims("/"));
    }
}
