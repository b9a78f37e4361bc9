//! Connections that end, answers that are none.

use super::*;

#[tokio::test]
async fn a_lost_connection_is_tried_again_and_its_push_may_have_been_taken() {
    let bench = bench().await;
    for cut in [Cut::Close, Cut::Reset, Cut::Midway] {
        bench.reply(ReplyScript { cut: Some(cut), ..ReplyScript::default() });
        let retry = PushError::Retry { after: None, reason: "connection_failed" };
        assert_eq!(bench.send("phone").await, Err(retry), "{cut:?}");
    }
    assert_eq!(bench.outcomes(), ["accepted", "accepted", "accepted"]);
    bench.send("phone").await.unwrap();
}

/// Google ends its connections now and then, in order. As in production, all sends share one HTTP/2 connection.
#[tokio::test]
async fn a_connection_that_is_told_to_go_costs_no_push() {
    const SENDS: usize = 200;
    let bench = bench().await;
    let http = Client::builder().http2_prior_knowledge();
    let gateway = FcmGateway::over(http, &settings(&bench.fake), bench.clock.clone()).unwrap();
    gateway.send(&push("first")).await.unwrap();
    bench.fake.script(Script { latency_ms: Some(fcm::Latency { min: 0, max: 20 }), ..Script::default() });

    let sends = join_all((0..SENDS).map(async |number| {
        // So that some are asked before, some while and some after the connection goes.
        if number % 20 == 10 {
            bench.fake.script(Script { goaway: true, ..Script::default() });
            tokio::task::yield_now().await;
        }
        gateway.send(&push("phone")).await
    }));

    let refused: Vec<_> = sends.await.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused, []);
    assert_eq!(bench.outcomes().len(), 1 + SENDS, "none was sent twice");
}

#[tokio::test]
async fn a_200_without_a_receipt_is_not_a_push() {
    let bench = bench().await;
    let huge =
        format!(r#"{{"padding": "{}", "name": "projects/p/messages/1"}}"#, "x".repeat(REPLY_BYTES_MAX));
    for body in ["", "<html>please log in</html>", r#"{"name": ""}"#, r#"{"name": 1}"#, &huge] {
        bench.reply(ReplyScript { body: Some(body.to_owned()), ..ReplyScript::default() });
        let retry = PushError::Retry { after: None, reason: "unexpected_response" };
        assert_eq!(bench.send("phone").await, Err(retry));
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let bench = bench().await;
    let google = bench.fake.url();
    let elsewhere = axum::Router::new()
        .fallback(async move |uri: http::Uri| axum::response::Redirect::temporary(&format!("{google}{uri}")));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let stop = bench.shutdown.clone();
    bench.shutdown.spawn_light(async move {
        stop.unless_stopped(axum::serve(listener, elsewhere).into_future()).await;
    });

    let settings = Config { base_url, ..settings(&bench.fake) };
    let gateway = FcmGateway::new(&settings, bench.clock.clone()).unwrap();
    let retry = PushError::Retry { after: None, reason: "unexpected_response" };
    assert_eq!(gateway.send(&push("phone")).await, Err(retry));
    assert!(bench.fake.log().is_empty());
}
