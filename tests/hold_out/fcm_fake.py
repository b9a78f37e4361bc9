"""Drives the fake FCM with Google's own client, to prove that the fake answers as FCM does.

Usage: pip install firebase-admin; python fcm_fake.py FCM_URL SERVICE_ACCOUNT_JSON_FILE
"""

import json
import sys
import urllib.request

import firebase_admin
from firebase_admin import credentials, exceptions, messaging

FCM_URL, ACCOUNT = sys.argv[1], sys.argv[2]
# The client has no setting for another endpoint.
messaging._MessagingService.FCM_URL = FCM_URL + "/v1/projects/{0}/messages:send"
messaging._MessagingService.FCM_BATCH_URL = FCM_URL + "/batch"
firebase_admin.initialize_app(credentials.Certificate(ACCOUNT))


def script(**body):
    request = urllib.request.Request(
        FCM_URL + "/script", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    return json.load(urllib.request.urlopen(request))


def device(token, **presence):
    url, body = FCM_URL + "/devices/" + token, json.dumps(presence).encode() if presence else None
    return json.load(urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"})))


def log():
    return json.load(urllib.request.urlopen(FCM_URL + "/log"))


def full_message(token):
    """Every block that the client can build."""
    return messaging.Message(
        token=token,
        data={"type": "PARTNER_STATUS_CHANGED", "eventId": "e1", "seq": "1"},
        notification=messaging.Notification(title="Anna", body="is available"),
        android=messaging.AndroidConfig(
            priority="high",
            ttl=3600,
            collapse_key="k",
            notification=messaging.AndroidNotification(
                tag="k", channel_id="c", priority="high", vibrate_timings_millis=[1, 2], visibility="public"
            ),
        ),
        apns=messaging.APNSConfig(
            headers={"apns-priority": "10", "apns-collapse-id": "k"},
            payload=messaging.APNSPayload(aps=messaging.Aps(alert="hi", badge=1)),
        ),
        webpush=messaging.WebpushConfig(headers={"TTL": "60", "Urgency": "high", "Topic": "k"}),
        fcm_options=messaging.FCMOptions(analytics_label="a"),
    )


def refused(kind, token="phone", **message):
    try:
        messaging.send(messaging.Message(token=token, notification=messaging.Notification("t", "b"), **message))
    except exceptions.FirebaseError as error:
        assert type(error) is kind, f"{token}: {type(error).__name__}: {error}"
        return error
    raise AssertionError(f"{token}: accepted")


script(reset=True)
name = messaging.send(full_message("phone"))
assert name.startswith("projects/"), name
assert [(entry["outcome"], entry["attempt"]) for entry in log()] == [("accepted", 1)], log()
assert messaging.send(full_message("phone"), dry_run=True)
assert len(log()) == 1, "validate_only is not logged"

refused(messaging.UnregisteredError, "unreg-1")
refused(messaging.SenderIdMismatchError, "mismatch-1")
refused(messaging.ThirdPartyAuthError, "apnsauth-1")
refused(exceptions.InvalidArgumentError, "bad-1")
refused(exceptions.InvalidArgumentError, data={"from": "x"})
refused(exceptions.InvalidArgumentError, data={"k": "x" * 4096})

codes = {
    "INVALID_ARGUMENT": exceptions.InvalidArgumentError,
    "MALFORMED_TOKEN": exceptions.InvalidArgumentError,
    "QUOTA_EXCEEDED": messaging.QuotaExceededError,
    "DEVICE_RATE_EXCEEDED": messaging.QuotaExceededError,
    "PERMISSION_DENIED": exceptions.PermissionDeniedError,
    "NOT_FOUND": exceptions.NotFoundError,
    "RESOURCE_EXHAUSTED": exceptions.ResourceExhaustedError,
}
for code, kind in codes.items():
    script(replies=[{"code": code}])
    refused(kind)

# The client repeats these by itself, and gets through.
script(reset=True, replies=[{"code": "UNAVAILABLE", "times": 2, "retryAfter": 1}])
messaging.send(full_message("phone"))
assert [entry["outcome"] for entry in log()] == ["UNAVAILABLE", "UNAVAILABLE", "accepted"], log()
messaging.send(full_message("flaky-2-1"))

# A revoked token: the client refreshes once and repeats.
script(reset=True, oauth={"revoke": True})
messaging.send(full_message("phone"))
assert [entry["outcome"] for entry in log()] == ["UNAUTHENTICATED", "accepted"], log()

# A phone that is away is shown the last of what replaces itself, when it is back.
script(reset=True)
device("away", online=False)
for _ in range(3):
    messaging.send(full_message("away"))
assert len(device("away")["stored"]) == 1 and not device("away")["screen"], device("away")
assert len(device("away", online=True)["screen"]) == 1, device("away")

script(reset=True, sendsPerMinute=1)
messaging.send(full_message("phone"))
refused(exceptions.ResourceExhaustedError)
script(reset=True)

batch = messaging.send_each([full_message("phone"), full_message("unreg-2"), full_message("tablet")])
assert [response.success for response in batch.responses] == [True, False, True]
print("the fake answers as FCM does, as far as firebase-admin", firebase_admin.__version__, "can tell")
