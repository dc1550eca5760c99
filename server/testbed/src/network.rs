//! Hosts of their own on this machine, with links that can be cut.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::Process;

/// Network namespaces on two switches: on one the hosts meet each other, on the other those that call them. They are
/// unknown to the machine's own network, and the kernel removes them when nobody is in them any more.
#[derive(Debug)]
pub struct Network {
    switches: Namespace,
    callers: Namespace,
    hosts: Vec<Namespace>,
}

/// A cable of each host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// The cable to the other hosts.
    Hosts = 1,
    /// The cable to those that call it.
    Callers = 2,
}

impl Link {
    const ALL: [Self; 2] = [Self::Hosts, Self::Callers];

    fn name(self) -> &'static str {
        match self {
            Self::Hosts => "hosts",
            Self::Callers => "callers",
        }
    }
}

impl Network {
    /// Makes so many hosts, and moves this thread to where the callers are: what it starts from now on is there too.
    ///
    /// # Errors
    /// Without root's rights, or without `unshare` of util-linux and `ip` of iproute2.
    pub fn of(hosts: u8) -> io::Result<Self> {
        let network = Self {
            switches: Namespace::make()?,
            callers: Namespace::make()?,
            hosts: (0..hosts)
                .map(|_| Namespace::make())
                .collect::<Result<_, _>>()?,
        };
        for link in Link::ALL {
            let name = link.name();
            network.switches.ip(&format!(
                "link add {name} type bridge\nlink set {name} up\n"
            ))?;
            for (host, namespace) in (0..).zip(&network.hosts) {
                network.plug_in(link, host, namespace)?;
            }
        }
        network.plug_in(Link::Callers, hosts, &network.callers)?;
        network.callers.enter()?;
        Ok(network)
    }

    fn plug_in(&self, link: Link, number: u8, namespace: &Namespace) -> io::Result<()> {
        let (switch, port) = (link.name(), port(link, number.into()));
        let (address, process) = (Self::address(number, link), namespace.holder.id());
        self.switches.ip(&format!(
            "link add {port} type veth peer name {switch} netns {process}\nlink set {port} master {switch} up\n"
        ))?;
        namespace.ip(&format!(
            "address add {address}/24 dev {switch}\nlink set {switch} up\n"
        ))
    }

    /// The address of a host, on one of its links.
    #[must_use]
    pub fn address(host: u8, link: Link) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, link as u8, host + 1)
    }

    /// Does something on a host: what is started there, and sockets made there, stay there.
    ///
    /// # Errors
    /// If this thread may not go there, or back.
    pub fn on<T>(&self, host: usize, act: impl FnOnce() -> T) -> io::Result<T> {
        self.hosts[host].enter()?;
        let done = act();
        self.callers.enter()?;
        Ok(done)
    }

    /// Pulls cables out of their switches: what is sent into them is lost, and no connection is told.
    pub fn cut(&self, host: usize, links: &[Link]) -> io::Result<()> {
        self.set(host, links, "down")
    }

    /// Plugs them in again.
    pub fn mend(&self, host: usize, links: &[Link]) -> io::Result<()> {
        self.set(host, links, "up")
    }

    fn set(&self, host: usize, links: &[Link], state: &str) -> io::Result<()> {
        let line = |&link| format!("link set {} {state}\n", port(link, host));
        self.switches
            .ip(&links.iter().map(line).collect::<String>())
    }
}

fn port(link: Link, number: usize) -> String {
    format!("{}{number}", link.name())
}

/// A network namespace, which lives as long as somebody is in it.
#[derive(Debug)]
struct Namespace {
    /// A process that is in it, and ends with this program: it reads what we write.
    holder: Process,
    file: File,
}

impl Namespace {
    fn make() -> io::Result<Self> {
        let mut command = Command::new("unshare");
        command
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut holder = Process::start(&mut command)?;
        let child = holder.child();
        let (Some(input), Some(output)) = (&mut child.stdin, &mut child.stdout) else {
            return Err(io::Error::other("a process without pipes"));
        };
        // When it answers, it is there.
        input
            .write_all(b"?")
            .and_then(|()| output.read_exact(&mut [0]))
            .map_err(|error| {
                io::Error::new(
                    error.kind(),
                    "no network namespace can be made; this needs root and `unshare` of util-linux",
                )
            })?;
        let file = File::open(format!("/proc/{}/ns/net", holder.id()))?;
        let namespace = Self { holder, file };
        namespace.ip("link set lo up\n")?;
        Ok(namespace)
    }

    /// Moves this thread into it.
    fn enter(&self) -> io::Result<()> {
        Ok(move_into_link_name_space(
            self.file.as_fd(),
            Some(LinkNameSpaceType::Network),
        )?)
    }

    /// Lines of arguments for `ip`, which runs in it.
    fn ip(&self, lines: &str) -> io::Result<()> {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{}/ns/net", self.holder.id()))
            .args(["ip", "-batch", "-"])
            .stdin(Stdio::piped());
        let mut ip = Process::start(&mut command)?;
        if let Some(mut input) = ip.child().stdin.take() {
            input.write_all(lines.as_bytes())?;
        }
        let ended = ip.child().wait()?;
        if ended.success() {
            Ok(())
        } else {
            Err(io::Error::other(format!(
                "`ip` of iproute2 failed, it has said why above, at: {}",
                lines.trim_end()
            )))
        }
    }
}
