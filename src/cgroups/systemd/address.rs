//! Where the buses are (D-Bus Specification, "Server Addresses"; systemd's own sockets as go-systemd and sd-bus use them).

use std::env;

use super::Address;

/// The system bus, and systemd's own socket for a host without one.
pub fn system() -> Vec<Address> {
    let mut list = parse(&env::var("DBUS_SYSTEM_BUS_ADDRESS").unwrap_or_default());
    if list.is_empty() {
        list.push(at("/run/dbus/system_bus_socket"));
    }
    list.push(Address { socket: "/run/systemd/private".into(), direct: true });
    list
}

/// The user's bus. Empty: the environment does not tell.
pub fn user() -> Vec<Address> {
    let mut list = parse(&env::var("DBUS_SESSION_BUS_ADDRESS").unwrap_or_default());
    if let Some(directory) = env::var("XDG_RUNTIME_DIR").ok().filter(|path| path.starts_with('/')) {
        let conventional = at(&format!("{directory}/bus"));
        if !list.contains(&conventional) {
            list.push(conventional);
        }
        list.push(Address { socket: format!("{directory}/systemd/private"), direct: true });
    }
    list
}

fn at(path: &str) -> Address {
    Address { socket: path.into(), direct: false }
}

/// The Unix sockets of a list of addresses: `unix:path=/run/user/1000/bus,guid=…;tcp:host=…`. Others are left out.
fn parse(list: &str) -> Vec<Address> {
    let one = |address: &str| {
        let keys = address.strip_prefix("unix:")?;
        let pair = |pair: &str| {
            let (key, value) = pair.split_once('=')?;
            let value = unescape(value)?;
            match key {
                "path" => Some(value),
                "abstract" => Some(format!("@{value}")),
                _ => None,
            }
        };
        keys.split(',').find_map(pair).map(|socket| at(&socket))
    };
    list.split(';').filter_map(one).collect()
}

/// `%2f` and its like.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(digit(rest.next()?)? * 16 + digit(rest.next()?)?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let sockets = |list: &str| parse(list).into_iter().map(|one| one.socket).collect::<Vec<_>>();
        assert_eq!(sockets("unix:path=/run/user/1000/bus"), ["/run/user/1000/bus"]);
        assert_eq!(sockets("unix:guid=ab,path=/a%20b;tcp:host=x;unix:abstract=/tmp/c"), ["/a b", "@/tmp/c"]);
        assert_eq!(sockets("unix:runtime=yes;unix:path=/x%zz;;"), Vec::<String>::new());
    }
}
