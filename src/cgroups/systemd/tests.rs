//! A stub bus that answers well, late, never, twice, with the wrong result, or closes (reliability.md R6).

use std::cell::Cell;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::wire::{Kind, Message};
use super::*;

const SOON: Duration = Duration::from_millis(300);

/// What the stub does with one call.
enum Answer {
    /// Nothing.
    Silence,
    /// Ends the connection.
    Close,
    /// Messages, after this time.
    Messages(Duration, Vec<Message>),
}

struct Stub {
    unit: Unit,
    path: PathBuf,
    server: Option<JoinHandle<Vec<String>>>,
}

impl Stub {
    /// `act` gets each call with the number of the connection.
    fn new(name: &str, connections: usize, act: impl Fn(usize, &Message) -> Answer + Send + 'static) -> Self {
        let path = std::env::temp_dir().join(format!("davit-bus-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let mut calls = Vec::new();
            for number in 0..connections {
                let (mut stream, _) = listener.accept().unwrap();
                serve(&mut stream, &mut calls, |call| act(number, call));
            }
            calls
        });
        let address = Address { socket: path.to_str().unwrap().into(), direct: false };
        Self { unit: Unit { name: "u.scope".into(), bus: vec![address] }, path, server: Some(server) }
    }

    /// The calls that came, once the stub has served its connections.
    fn calls(&mut self) -> Vec<String> {
        self.server.take().unwrap().join().unwrap()
    }

    fn start(&self, properties: &[Property]) -> Result<Started> {
        self.unit.start_within(SOON, properties, || false)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn line(stream: &mut UnixStream) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

fn serve(stream: &mut UnixStream, calls: &mut Vec<String>, act: impl Fn(&Message) -> Answer) {
    assert_eq!(line(stream), "\0AUTH EXTERNAL\r\n");
    stream.write_all(b"DATA\r\n").unwrap();
    assert_eq!(line(stream), "DATA\r\n");
    stream.write_all(b"OK 0123\r\n").unwrap();
    assert_eq!(line(stream), "BEGIN\r\n");
    let mut received = Vec::new();
    let mut buffer = [0; 1000];
    loop {
        while let Some(length) =
            Message::length(&received).unwrap().filter(|length| received.len() >= *length)
        {
            let bytes: Vec<u8> = received.drain(..length).collect();
            let call = Message::decode(&bytes).unwrap();
            calls.push(call.member.clone());
            match act(&call) {
                Answer::Silence => {}
                Answer::Close => return,
                Answer::Messages(after, messages) => {
                    std::thread::sleep(after);
                    for message in messages {
                        // Byte by byte: a message may come in any number of pieces.
                        for byte in message.encode().unwrap() {
                            if stream.write_all(&[byte]).is_err() {
                                return;
                            }
                        }
                    }
                }
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(length) => received.extend_from_slice(&buffer[..length]),
        }
    }
}

fn answer(call: &Message, body: Vec<Value>) -> Message {
    Message { serial: 1000, reply_to: call.serial, body, ..Message::new(Kind::Return) }
}

fn refusal(call: &Message, name: &str, text: &str) -> Answer {
    let error = Message { error: name.into(), body: vec![text.into()], ..answer(call, Vec::new()) };
    Answer::Messages(Duration::ZERO, vec![Message { kind: Kind::Error, ..error }])
}

fn removed(job: &str, result: &str) -> Message {
    Message {
        serial: 1001,
        path: PATH.into(),
        interface: MANAGER.into(),
        member: "JobRemoved".into(),
        body: vec![Value::U32(1), Value::Path(job.into()), "u.scope".into(), result.into()],
        ..Message::new(Kind::Signal)
    }
}

/// The job's end is told before the call is answered, which may well happen.
fn started(call: &Message, result: &str) -> Answer {
    let job = answer(call, vec![Value::Path("/job/7".into())]);
    let list = vec![removed("/job/6", "failed"), removed("/job/7", result), job];
    Answer::Messages(Duration::ZERO, list)
}

fn usual(call: &Message) -> Answer {
    match call.member.as_str() {
        "StartTransientUnit" | "StopUnit" => started(call, "done"),
        _ => Answer::Messages(Duration::ZERO, vec![answer(call, Vec::new())]),
    }
}

/// [C6] Who listens for the end does so before the beginning.
#[test]
fn a_unit_is_started() {
    let mut stub = Stub::new("ok", 1, |_, call| usual(call));
    assert_eq!(stub.start(&[]).unwrap(), Started::Done(Vec::new()));
    assert_eq!(stub.calls(), ["Hello", "AddMatch", "Subscribe", "StartTransientUnit"]);
}

/// [C6] Answers that come late, twice, or to somebody else.
#[test]
fn answers_may_be_late_and_double() {
    let mut stub = Stub::new("late", 1, |_, call| match call.member.as_str() {
        "StartTransientUnit" => {
            let job = answer(call, vec![Value::Path("/job/7".into())]);
            let stranger = Message { reply_to: 999, ..job.clone() };
            let list = vec![stranger, job.clone(), job, removed("/job/7", "done"), removed("/job/7", "done")];
            Answer::Messages(Duration::from_millis(100), list)
        }
        _ => usual(call),
    });
    assert_eq!(stub.start(&[]).unwrap(), Started::Done(Vec::new()));
    stub.calls();
}

/// [C6] No answer, or no end of the job: an error within the time, that names call and unit.
#[test]
fn silence_ends() {
    for silent in ["Hello", "StartTransientUnit", "job"] {
        let stub = Stub::new(&format!("never-{silent}"), 1, move |_, call| match call.member.as_str() {
            member if member == silent => Answer::Silence,
            "StartTransientUnit" => {
                let job = answer(call, vec![Value::Path("/job/7".into())]);
                Answer::Messages(Duration::ZERO, vec![job])
            }
            _ => usual(call),
        });
        let begun = Instant::now();
        let error = stub.start(&[]).unwrap_err().to_string();
        assert!(begun.elapsed() < SOON * 4, "{silent}");
        let call = if silent == "Hello" { "connect to the bus" } else { "StartTransientUnit" };
        let expected = format!("systemd: {call} (u.scope): no answer within 0.3 s");
        assert!(error.starts_with(&expected), "{error}");
    }
}

/// [C6] A connection that breaks is made once more, and then given up.
#[test]
fn broken_connections() {
    let mut stub = Stub::new("close", 2, |number, call| match call.member.as_str() {
        "StartTransientUnit" if number == 0 => Answer::Close,
        _ => usual(call),
    });
    assert_eq!(stub.start(&[]).unwrap(), Started::Done(Vec::new()));
    assert_eq!(stub.calls().iter().filter(|call| *call == "StartTransientUnit").count(), 2);
    let mut stub = Stub::new("closes", 2, |_, call| match call.member.as_str() {
        "StartTransientUnit" => Answer::Close,
        _ => usual(call),
    });
    let error = stub.start(&[]).unwrap_err().to_string();
    assert_eq!(error, "systemd: StartTransientUnit (u.scope): connection reset by peer");
    stub.calls();
}

/// [C6] Where the first try had come through after all, its unit is taken.
#[test]
fn the_own_unit_is_no_stranger() {
    let mut stub = Stub::new("own", 2, |number, call| match (number, call.member.as_str()) {
        (0, "StartTransientUnit") => Answer::Close,
        (_, "StartTransientUnit") => refusal(call, "org.freedesktop.systemd1.UnitExists", "There."),
        _ => usual(call),
    });
    let asked = Cell::new(0);
    let ours = || {
        asked.set(asked.get() + 1);
        true
    };
    assert_eq!(stub.unit.start_within(SOON, &[], ours).unwrap(), Started::Done(Vec::new()));
    assert_eq!(asked.get(), 1);
    stub.calls();
}

/// [C6] A unit of the name: reset, tried once more, and then somebody else's.
#[test]
fn leftovers_are_reset_once() {
    let mut stub = Stub::new("exists", 1, |_, call| match call.member.as_str() {
        "StartTransientUnit" => {
            refusal(call, "org.freedesktop.systemd1.UnitExists", "Unit was already loaded.")
        }
        _ => usual(call),
    });
    assert_eq!(stub.start(&[]).unwrap(), Started::Exists);
    let calls = stub.calls();
    assert_eq!(calls[3..], ["StartTransientUnit", "ResetFailedUnit", "StartTransientUnit"]);
}

/// An older systemd goes without limits that it does not know, but not without what makes the unit.
#[test]
fn unknown_properties() {
    let stub = |name: &str, unknown: &'static str| {
        Stub::new(name, 1, move |_, call| {
            let given = format!("{:?}", call.body);
            let text = format!("Cannot set property {unknown}, or unknown property.");
            match call.member.as_str() {
                "StartTransientUnit" if given.contains(&format!("{unknown:?}")) => {
                    refusal(call, "org.freedesktop.DBus.Error.PropertyReadOnly", &text)
                }
                _ => usual(call),
            }
        })
    };
    let properties = [
        Property::limit("AllowedCPUs", Value::bytes(&[1])),
        Property::limit("CPUWeight", Value::U64(1)),
        Property::new("Slice", "a.slice".into()),
    ];
    let started = stub("old", "CPUWeight").start(&properties).unwrap();
    assert_eq!(started, Started::Done(vec!["CPUWeight".into()]));
    let error = stub("older", "Slice").start(&properties).unwrap_err().to_string();
    assert_eq!(
        error,
        "systemd: StartTransientUnit (u.scope): Cannot set property Slice, or unknown property"
    );
}

/// [C16] The old values are asked for by name, an empty list stays; then systemd is waited for.
#[test]
fn properties_are_read_and_set() {
    let mut stub = Stub::new("set", 2, |_, call| match call.member.as_str() {
        "GetUnit" => {
            let path = Value::Path("/org/freedesktop/systemd1/unit/u_2escope".into());
            Answer::Messages(Duration::ZERO, vec![answer(call, vec![path])])
        }
        "Get" if call.body[1].as_text() == Some("MemoryZSwapMax") => {
            refusal(call, "org.freedesktop.DBus.Error.UnknownProperty", "Unknown property or interface.")
        }
        "Get" => {
            assert_eq!(call.path, "/org/freedesktop/systemd1/unit/u_2escope");
            assert_eq!(call.body[0].as_text(), Some(SCOPE));
            let value = Value::Variant(Box::new(Value::U64(7)));
            Answer::Messages(Duration::ZERO, vec![answer(call, vec![value])])
        }
        _ => usual(call),
    });
    let none = Property::new("DeviceAllow", Value::Array("(ss)".into(), Vec::new()));
    let given = [
        Property::limit("MemoryMax", Value::U64(9)),
        Property::limit("MemoryZSwapMax", Value::U64(9)),
        none.clone(),
    ];
    let present = stub.unit.get(&given).unwrap();
    assert_eq!(present, [Property::limit("MemoryMax", Value::U64(7)), none]);
    assert_eq!(stub.unit.set_within(SOON, &present).unwrap(), Vec::<String>::new());
    let calls = stub.calls();
    assert_eq!(calls, ["Hello", "GetUnit", "Get", "Get", "Hello", "SetUnitProperties", "Ping"]);
}

/// [C6] Whatever a job ends as but "done" is told; only what failed needs a reset, and gets it.
#[test]
fn results_of_jobs() {
    for result in ["canceled", "timeout", "failed", "dependency", "skipped", "invalid", "assert", "once"] {
        let mut stub = Stub::new(&format!("job-{result}"), 1, move |_, call| match call.member.as_str() {
            "StartTransientUnit" => started(call, result),
            _ => usual(call),
        });
        let error = stub.start(&[]).unwrap_err().to_string();
        assert_eq!(error, format!("systemd: StartTransientUnit (u.scope): job ended as \"{result}\""));
        stub.calls();
        let mut stub = Stub::new(&format!("stop-{result}"), 1, move |_, call| match call.member.as_str() {
            "StopUnit" => started(call, result),
            _ => usual(call),
        });
        let stopped = stub.unit.stop_within(SOON);
        assert_eq!(stopped.is_ok(), ["skipped", "canceled"].contains(&result), "{result}");
        assert_eq!(stub.calls()[3..], ["StopUnit", "ResetFailedUnit"], "{result}");
    }
}

/// [C6] The time-out of systemd's own programs is ours.
#[test]
fn time_outs() {
    for (text, expected) in [
        ("5", Some(5_000)),
        ("1.5s", Some(1_500)),
        (" 200ms ", Some(200)),
        ("2 min", Some(120_000)),
        ("100000us", Some(100)),
        ("0", None),
        ("-1", None),
        ("soon", None),
        ("5 fortnights", None),
        ("", None),
    ] {
        assert_eq!(span(text), expected.map(Duration::from_millis), "{text:?}");
    }
}

/// [C24] Stopped, waited for, reset; a unit that is gone is a success, and so is a systemd that is.
#[test]
fn a_unit_is_stopped() {
    let mut stub = Stub::new("stop", 1, |_, call| usual(call));
    stub.unit.stop_within(SOON).unwrap();
    assert_eq!(stub.calls()[3..], ["StopUnit", "ResetFailedUnit"]);
    let mut stub = Stub::new("stopped", 1, |_, call| match call.member.as_str() {
        "StopUnit" => refusal(call, "org.freedesktop.systemd1.NoSuchUnit", "Unit u.scope not loaded."),
        _ => usual(call),
    });
    stub.unit.stop_within(SOON).unwrap();
    stub.calls();
    let mut stub = Stub::new("stuck", 1, |_, call| match call.member.as_str() {
        "StopUnit" => started(call, "timeout"),
        _ => usual(call),
    });
    let error = stub.unit.stop_within(SOON).unwrap_err().to_string();
    assert_eq!(error, "systemd: StopUnit (u.scope): job ended as \"timeout\"");
    stub.calls();
    assert!(stub.unit.is_orphan());
    let error = stub.unit.stop_within(SOON).unwrap_err().to_string();
    assert_eq!(error, "systemd: connect to the bus (u.scope): connection refused");
}
