//! Identifiers of the WAMP router, one type for each scope, so that a request can never be looked up among subscriptions.
//!
//! WAMP section "IDs": integers from 1 to 2^53, the largest range that a double holds exactly.

use std::fmt;

/// The largest identifier, 2^53.
pub const ID_MAX: u64 = 1 << 53;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// The identifier, when `raw` lies in 1 to 2^53.
            #[must_use]
            pub const fn new(raw: u64) -> Option<Self> {
                if raw >= 1 && raw <= ID_MAX { Some(Self(raw)) } else { None }
            }

            /// The identifier that a random word stands for: every value of the range is equally likely.
            #[must_use]
            pub const fn from_random(word: u64) -> Self {
                Self((word & (ID_MAX - 1)) + 1)
            }

            /// The first identifier of a counter.
            pub const FIRST: Self = Self(1);

            /// The identifier after this one; 1 comes after 2^53.
            #[must_use]
            pub const fn next(self) -> Self {
                if self.0 == ID_MAX { Self(1) } else { Self(self.0 + 1) }
            }

            /// The bare number, for the wire.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

id!(
    /// A session of one realm. Global scope: random.
    SessionId
);
id!(
    /// A publication, the same for all its receivers. Global scope: random.
    PublicationId
);
id!(
    /// A (topic, match) pair somebody subscribed to, the same for all its subscribers. Router scope.
    SubscriptionId
);
id!(
    /// A registered procedure. Router scope.
    RegistrationId
);
id!(
    /// A request of one session, counted by that session from 1.
    RequestId
);
id!(
    /// A call on its way to one callee, counted for each callee session from 1.
    InvocationId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_is_one_to_two_to_the_53() {
        assert_eq!(RequestId::new(0), None);
        assert_eq!(RequestId::new(1).map(RequestId::get), Some(1));
        assert_eq!(RequestId::new(ID_MAX).map(RequestId::get), Some(9_007_199_254_740_992));
        assert_eq!(RequestId::new(ID_MAX + 1), None);
    }

    #[test]
    fn counters_wrap_to_one() {
        assert_eq!(RequestId::FIRST.next().get(), 2);
        assert_eq!(RequestId::new(ID_MAX).map(|id| id.next().get()), Some(1));
    }

    #[test]
    fn random_words_stay_in_range() {
        assert_eq!(SessionId::from_random(0).get(), 1);
        assert_eq!(SessionId::from_random(u64::MAX).get(), ID_MAX);
    }
}
