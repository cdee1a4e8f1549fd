//! `bearerd status`

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal as _},
    path::PathBuf,
    time::Duration,
};

use bearerd_client::{Channel, pb::v1};

use super::{
    Exit, Outcome, Trouble, args, output, socket,
    table::{self, Canvas},
};
use crate::{
    clock::{Clock as _, SystemClock},
    json,
};

/// Shows the clients, once or until interrupted.
pub(super) async fn status(named: Option<PathBuf>, args: args::StatusArgs) -> Outcome {
    let channel = socket::connect(named).await?;
    if args.watch { watch(channel, &args).await } else { once(channel, &args).await }
}

async fn once(channel: Channel, args: &args::StatusArgs) -> Outcome {
    let clients = list(channel, args.client.as_deref()).await?;
    // What does not fit on one screen can be scrolled to.
    let canvas = Canvas { height: None, ..canvas() };
    output::print(render(&clients, args, canvas).as_bytes())
}

/// On a terminal the picture is drawn anew every second. Elsewhere a line is printed for each change of state, until
/// nobody reads them any more.
async fn watch(channel: Channel, args: &args::StatusArgs) -> Outcome {
    let screen = io::stdout().is_terminal() && !args.json;
    let mut seen = BTreeMap::new();
    while !output::abandoned() {
        let clients = list(channel.clone(), args.client.as_deref()).await?;
        if screen {
            // Home, the picture with each line cleared behind it, and the rest of the screen cleared.
            let picture = render(&clients, args, canvas()).replace('\n', "\x1b[K\n");
            output::print(format!("\x1b[H{picture}\x1b[J").as_bytes())?;
        } else {
            news(&clients, &mut seen, args.json)?;
        }
        tokio::time::sleep(EVERY).await;
    }
    Ok(())
}

fn news(clients: &[v1::ClientStatus], seen: &mut BTreeMap<String, (i32, String)>, json: bool) -> Outcome {
    let now = humantime::format_rfc3339_seconds(SystemClock.now().wall);
    for client in clients {
        let fresh = (client.state, client.token_id.clone());
        if seen.get(&client.name) == Some(&fresh) {
            continue;
        }
        seen.insert(client.name.clone(), fresh);
        if json {
            output::json(&json::client_status(client))?;
        } else {
            let note = client.last_failure.as_ref().map(|failure| format!(" {}: {}", failure.reason, failure.text));
            let state = json::state(client.state());
            output::line(&format!("{now} {} {state}{}", client.name, note.unwrap_or_default()))?;
        }
    }
    Ok(())
}

async fn list(channel: Channel, only: Option<&str>) -> Result<Vec<v1::ClientStatus>, Trouble> {
    let mut broker = channel.broker();
    let response = socket::answer(socket::PROMPT, broker.list_clients(v1::ListClientsRequest {})).await?;
    let Some(name) = only else { return Ok(response.clients) };
    let found: Vec<_> = response.clients.into_iter().filter(|client| client.name == name).collect();
    if found.is_empty() {
        let text = format!("no client `{name}` is configured, or this user may not use it; see `bearerd status`");
        return Err(Trouble::new(Exit::Configuration, text));
    }
    Ok(found)
}

fn render(clients: &[v1::ClientStatus], args: &args::StatusArgs, canvas: Canvas) -> String {
    let now = SystemClock.now().wall;
    if args.json {
        let clients: Vec<_> = clients.iter().map(json::client_status).collect();
        return format!("{}\n", serde_json::json!({ "clients": clients }));
    }
    match (args.client.is_some(), clients) {
        (true, [client]) => table::details(client, now),
        (_, []) => "no client that this user may use\n".to_owned(),
        (_, clients) => table::overview(clients, now, canvas),
    }
}

/// As large as the terminal, if it is one.
fn canvas() -> Canvas {
    let (width, height) = output::terminal_size().unzip();
    Canvas { colours: output::colours(), width, height }
}

/// How often the daemon is asked while watching.
const EVERY: Duration = Duration::from_secs(1);
