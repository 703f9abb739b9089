//! Clients in the three modes against the smallest thing that answers them: one that unwraps, and echoes itself.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;

use super::*;
use crate::faketls::{self, CHANGE_CIPHER_SPEC, ClientHello, HelloKind, X25519, X25519_MLKEM768};
use crate::obfuscated2::{self, HEADER_LEN, Header};

const SECRET: [u8; 16] = *b"0123456789abcdef";

/// What the echo saw: the header, and how many records it read.
type Seen = (Header, usize);

/// Serves one client. In fake TLS it is told the hello beforehand, and takes nothing but that.
fn echo(hello: Option<ClientHello>, extra: &'static [u8]) -> (SocketAddr, JoinHandle<io::Result<Seen>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("an address");
    let serve = move || {
        let (mut socket, _) = listener.accept()?;
        socket.set_read_timeout(Some(crate::clock::patience()))?;
        if let Some(hello) = &hello {
            let mut bytes = vec![0; hello.bytes.len()];
            socket.read_exact(&mut bytes)?;
            assert_eq!(bytes, hello.bytes);
            let group = hello.groups[0];
            let share = vec![9; if group == X25519 { 32 } else { 1120 }];
            let mut answer = faketls::answer(&SECRET, hello, 0x1301, group, &share, &[7; 2000]);
            answer.extend_from_slice(extra);
            socket.write_all(&answer)?;
            let mut change = [0; 6];
            socket.read_exact(&mut change)?;
            assert_eq!(change, CHANGE_CIPHER_SPEC);
        }
        let (mut bytes, mut records) = (Vec::new(), 0);
        while let Some(more) = unwrap(&mut socket, hello.is_some())? {
            bytes.extend(more);
            records += 1;
        }
        let (header, data) = bytes.split_first_chunk::<HEADER_LEN>().expect("a header");
        let (header, mut up, mut down) = obfuscated2::open(header, Some(&SECRET));
        let mut data = data.to_vec();
        up.apply(&mut data);
        down.apply(&mut data);
        if hello.is_none() {
            socket.write_all(&data)?;
        }
        for piece in data.chunks(1000).filter(|_| hello.is_some()) {
            // An empty record first: they are allowed.
            socket.write_all(&[0x17, 3, 3, 0, 0, 0x17, 3, 3])?;
            socket.write_all(&(piece.len() as u16).to_be_bytes())?;
            socket.write_all(piece)?;
        }
        Ok((header, records))
    };
    (addr, std::thread::spawn(serve))
}

/// The next record's payload, or the next bytes; `None` at the end.
fn unwrap(socket: &mut TcpStream, tls: bool) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; 65_536];
    if !tls {
        let len = socket.read(&mut bytes)?;
        bytes.truncate(len);
        return Ok((len != 0).then_some(bytes));
    }
    let mut head = [0; 5];
    match socket.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    assert_eq!(head[..3], [0x17, 3, 3]);
    bytes.truncate(usize::from(u16::from_be_bytes([head[3], head[4]])));
    socket.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}

/// Sends 3,000 bytes, expects them back and then the end; what the echo saw.
fn round_trip(mode: Mode, kind: HelloKind, shape: Shape) -> Seen {
    let spec = faketls::HelloSpec::new(kind, "www.example.org", 1);
    let hello = matches!(mode, Mode::Ee { .. }).then(|| faketls::client_hello(&SECRET, &spec, 1));
    let (addr, server) = echo(hello.clone(), &[]);
    let mut builder = Client::builder(mode, addr, SECRET, -3).shape(shape);
    if let Some(hello) = hello {
        builder = builder.client_hello(hello);
    }
    let mut client = builder.connect().expect("it gets in");
    assert!(client.is_silent(Duration::from_millis(1)).expect("a connection"));
    let data: Vec<u8> = (0..3000u32).map(|at| at as u8).collect();
    client.send(&data).expect("it reads");
    client.finish().expect("a connection");
    assert_eq!(client.recv_to_end(), (data, End::Eof));
    server.join().expect("no panic").expect("no error")
}

#[test]
fn every_mode_and_shape_carries_the_same_bytes() {
    let shapes = [
        Shape::default(),
        Shape {
            write_size: 1,
            hello_segments: 3,
            ..Shape::default()
        },
        Shape {
            header: HeaderShape::Split(5),
            coalesce: true,
            record_size: 7,
            ..Shape::default()
        },
        Shape {
            header: HeaderShape::WithData,
            empty_records: true,
            ..Shape::default()
        },
    ];
    for shape in shapes {
        for tag in Tag::ALL {
            let (header, _) = round_trip(Mode::Plain(tag), HelloKind::Classic, shape);
            assert_eq!((header.tag, header.dc), (tag, -3));
        }
        assert_eq!(round_trip(Mode::Dd, HelloKind::Classic, shape).0.tag, Tag::PADDED);
        for kind in [HelloKind::Classic, HelloKind::Kem, HelloKind::KemOnly] {
            assert_eq!(
                round_trip(Mode::ee("www.example.org"), kind, shape).0.tag,
                Tag::PADDED
            );
        }
    }
}

#[test]
fn records_are_cut_as_the_shape_says() {
    let ee = || Mode::ee("www.example.org");
    let records = |shape| round_trip(ee(), HelloKind::Classic, shape).1;
    assert_eq!(records(Shape::default()), 2);
    assert_eq!(
        records(Shape {
            header: HeaderShape::WithData,
            ..Shape::default()
        }),
        1
    );
    assert_eq!(
        records(Shape {
            header: HeaderShape::Split(4),
            ..Shape::default()
        }),
        5
    );
    assert_eq!(
        records(Shape {
            record_size: 1,
            coalesce: true,
            ..Shape::default()
        }),
        3064
    );
    assert_eq!(
        records(Shape {
            empty_records: true,
            ..Shape::default()
        }),
        4
    );
}

#[test]
fn answer_that_says_more_than_it_should_is_refused() {
    let spec = faketls::HelloSpec::new(HelloKind::Kem, "a", 1);
    let hello = faketls::client_hello(&SECRET, &spec, 1);
    assert_eq!(hello.groups, [X25519_MLKEM768, X25519]);
    let (addr, _server) = echo(Some(hello.clone()), &[0x17, 3, 3, 0, 1, 0]);
    let result = Client::builder(Mode::ee("a"), addr, SECRET, 1)
        .client_hello(hello)
        .connect();
    assert!(matches!(result, Err(ConnectError::Answer(..))), "{result:?}");
}
