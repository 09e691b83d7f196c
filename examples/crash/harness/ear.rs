//! What passes through a vendor's proxy: which kind of request it is, and what the proxy did to it.

use std::sync::Arc;

use axum::http::Method;
use drydock::simulators::{Route, Simulator};
use tokio::time::Instant;

use super::harm::{self, Harm, Harms, Place, Strike};
use super::proxy::{Cut, Hear};

/// Writes down what a vendor's proxy did.
pub struct Ear {
    pub vendor: &'static str,
    pub simulator: Arc<dyn Simulator>,
    pub harms: Harms,
}

impl Hear for Ear {
    fn cut(&self, cut: Cut, marked: bool, request: &[u8]) {
        let harm = if marked { Harm::Start(cut) } else { Harm::Request(cut) };
        self.harms.strike(harm, Place::Vendor(self.vendor, route(self.simulator.as_ref(), request)));
    }

    fn away(&self, until: Instant) {
        let (from, until) = (harm::now(), harm::at(until));
        self.harms.note(Strike {
            harm: Harm::VendorAway,
            place: Place::Vendor(self.vendor, None),
            from,
            until,
        });
    }
}

/// What kind of request begins so; `None` for a later piece of one.
pub fn route(simulator: &dyn Simulator, request: &[u8]) -> Option<Route> {
    let line = request.split(|byte| *byte == b'\r').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let method = Method::from_bytes(words.next()?.as_bytes()).ok()?;
    let path = words.next()?.split('?').next()?;
    words.next().filter(|version| version.starts_with("HTTP/"))?;
    Some(simulator.route(&method, path))
}
