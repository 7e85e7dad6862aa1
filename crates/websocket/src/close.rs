//! Close codes: the numbers that end a session, and which of them a peer may put into a Close frame.
//!
//! Knows RFC 6455 section 7.4 and the registry it opened. Does not know why a session ends; that is the server's affair.

use std::fmt;

/// The status code of a Close frame (RFC 6455 section 7.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The purpose of the session is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The server goes down, or the browser leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke RFC 6455 or RFC 7692.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// A kind of data that the endpoint cannot take, such as binary where only text is spoken.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// Text that is not UTF-8, or compressed data that does not inflate.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// A rule of this endpoint was broken and no other code says it better.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// A frame or message above the limit.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// The endpoint met a condition that it did not expect.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// The server is overloaded; registered after RFC 6455 was published.
    pub const TRY_AGAIN_LATER: Self = Self(1013);

    /// The code with this number, whether or not it may travel in a frame.
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The number as it travels.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Whether a Close frame may carry this code.
    ///
    /// 1004, 1005, 1006 and 1015 describe endings without a frame and must never be sent (section 7.4.1). 1012 to 1014
    /// were registered later. 1016 to 2999 await an RFC that nobody has written. 3000 to 4999 belong to libraries and
    /// applications (section 7.4.2); above that there is no meaning at all.
    pub const fn may_travel(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn travelling_codes() {
        let check = |numbers: &[u16], expect: bool| {
            for &number in numbers {
                assert_eq!(CloseCode::new(number).may_travel(), expect, "{number}");
            }
        };
        check(&[1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999], true);
        check(&[0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535], false);
    }
}
