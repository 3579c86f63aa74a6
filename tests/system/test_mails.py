"""What people find in their mail, which is files here."""

import re
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from tests.support.customer import Customer, visitor
from tests.support.eventually import eventually
from tests.support.platform import Platform


async def mail(platform: Platform, email: str, subject: str) -> EmailMessage:
    """The mail to this address whose subject begins so."""

    async def found() -> EmailMessage | None:
        mails = map(read, (platform.state.folder / "mail").glob("*.eml"))
        return next((mail for mail in mails if mail["To"] == email and mail["Subject"].startswith(subject)), None)

    read_mail = await eventually(found, within=10)
    assert read_mail is not None
    return read_mail


def read(file: Path) -> EmailMessage:
    return message_from_bytes(file.read_bytes(), policy=policy.default)


def token_in(mail: EmailMessage) -> str:
    (token,) = re.findall(r"^    (\S{43})$", mail.get_content(), re.MULTILINE)
    return str(token)


async def test_a_customer_proves_the_address_and_chooses_a_new_password(platform: Platform, customer: Customer) -> None:
    email = (await customer.get("/users/me"))["email"]
    token = token_in(await mail(platform, email, "Please confirm"))
    assert (await customer.http.post("/email-verifications", json={"token": token})).status_code == 204
    assert (await customer.get("/users/me"))["email_verified"]
    assert (await customer.http.post("/password-resets", json={"email": email})).status_code == 204
    token = token_in(await mail(platform, email, "Choose a new password"))
    async with visitor(platform.edge) as anybody:
        answer = await anybody.http.put(f"/password-resets/{token}", json={"password": "a better horse"})
        assert answer.status_code == 204
        again = await anybody.http.put(f"/password-resets/{token}", json={"password": "a third horse"})
        assert (again.status_code, again.json()["type"]) == (422, "/problems/token-not-valid")
        await anybody.log_in(email, "a better horse")


async def test_an_unknown_address_gets_the_same_answer(platform: Platform, customer: Customer) -> None:
    async with visitor(platform.edge) as anybody:
        answers = [
            await anybody.http.post("/password-resets", json={"email": email})
            for email in ((await customer.get("/users/me"))["email"], "nobody@customers.example", "nonsense")
        ]
    assert [(answer.status_code, answer.content) for answer in answers] == [(204, b"")] * 3


async def test_a_guest_is_told_of_an_order(platform: Platform, staff: Customer) -> None:
    sku = await staff.add_product(on_hand=1)
    async with visitor(platform.edge) as guest:
        email = f"{sku.lower()}@guests.example"
        wanted = {"items": [{"sku": sku, "quantity": 1}], "payment_method": "pm_card_visa", "email": email}
        order = await guest.post("/orders", wanted)
    assert "1 x A thing" in (await mail(platform, email, f"Your order {order['number']}")).get_content()
