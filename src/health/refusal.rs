//! What each refusal of MariaDB means. Decided by the code alone, never by the SQLSTATE: 1040 arrives with 08004, HY000
//! or none, depending on when it is said.

use super::DatabaseFaultKind;

/// What a refused login or statement means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No slot: 1040, 1203, 1226 for `max_user_connections`.
    Full,
    /// Something else.
    Fault(DatabaseFaultKind),
}

/// Classifies an error code; 1226 needs the resource that its message names.
pub fn classify(code: u16, message: &str) -> Refusal {
    match code {
        1040 | 1203 => Refusal::Full,
        1226 if message.contains("max_user_connections") => Refusal::Full,
        1226 => Refusal::Fault(DatabaseFaultKind::Quota),
        1044 | 1045 | 1049 | 1130 | 1142 | 1227 | 1251 | 1524 | 1698 | 1820 | 1862 | 3118 | 4151 => {
            Refusal::Fault(DatabaseFaultKind::Password)
        }
        3159 => Refusal::Fault(DatabaseFaultKind::Tls),
        1043 | 1047 | 1064 | 1193 | 1235 | 1273 => Refusal::Fault(DatabaseFaultKind::Unsupported),
        1053 | 1077 | 1080 | 1158..=1161 | 1184 | 1927 => Refusal::Fault(DatabaseFaultKind::Network),
        _ => Refusal::Fault(DatabaseFaultKind::Statement),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_password_and_quota_are_three_things() {
        assert_eq!(classify(1040, "Too many connections"), Refusal::Full);
        assert_eq!(classify(1203, ""), Refusal::Full);
        let own = "User 'wiki' has exceeded the 'max_user_connections' resource (current value: 10)";
        assert_eq!(classify(1226, own), Refusal::Full);
        let hourly = "User 'wiki' has exceeded the 'max_connections_per_hour' resource (current value: 10)";
        assert_eq!(classify(1226, hourly), Refusal::Fault(DatabaseFaultKind::Quota));
        assert_eq!(classify(1045, "Access denied"), Refusal::Fault(DatabaseFaultKind::Password));
        assert_eq!(
            classify(1969, "max_statement_time exceeded"),
            Refusal::Fault(DatabaseFaultKind::Statement)
        );
    }
}
