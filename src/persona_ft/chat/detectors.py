"""What private data looks like: patterns for each kind, and checks that tell numbers of one kind from another.

Numbers are checked, not only matched: telephone numbers with ``phonenumbers`` (Google's libphonenumber), cards with
Luhn, My Number and IBAN with ``python-stdnum``, IP addresses with ``ipaddress``. How much is found and how much is
taken by mistake is measured on labelled sentences: ``python benchmarks/privacy.py``.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterable, Iterator

from persona_ft.language import JAPANESE

# Found (start, end) in a text that ``plain`` has been through.
Span = tuple[int, int]

# One character for one, so that places in the plain text are places in the original.
PLAIN = {code: unicodedata.normalize("NFKC", chr(code)) for code in range(0xFF01, 0xFF5F)}
PLAIN |= {0x3000: " ", 0xA0: " "} | dict.fromkeys(map(ord, "‐‑‒–—―−﹣－"), "-")
# The long-vowel mark ー is a dash between digits, and a letter elsewhere.
LONG_VOWEL = re.compile(r"(?<=\d)ー(?=\d)")

A = r"A-Za-z0-9"
PREFECTURES = (
    "北海道|青森県|岩手県|宮城県|秋田県|山形県|福島県|茨城県|栃木県|群馬県|埼玉県|千葉県|東京都|神奈川県|新潟県|富山県|石川県|福井県"
    "|山梨県|長野県|岐阜県|静岡県|愛知県|三重県|滋賀県|京都府|大阪府|兵庫県|奈良県|和歌山県|鳥取県|島根県|岡山県|広島県|山口県|徳島県"
    "|香川県|愛媛県|高知県|福岡県|佐賀県|長崎県|熊本県|大分県|宮崎県|鹿児島県|沖縄県"
)
STATES = (
    "A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY]"
)
UNITS = "度|円|年|件|枚|個|%|人|分|時|回|歳|本|冊|杯|匹|点|位|階|万|億|ドル|メートル|キロ|km|kg|mm|cm"

# Where a pattern may begin is said by a look behind, so that a long run is tried once and not from each of its letters.
EMAIL = re.compile(r"(?<![\w.+'-])[\w.+'-]*[\w+-]@[\w-]+(?:\.[\w-]+)*\.(?!\d+(?![\w-]))[\w-]+", re.A)
URL_CHARACTERS = r"[^\s<>「」『』（）()、。\"]"
TOP = (
    "com|net|org|edu|gov|info|biz|xyz|jp|me|be|io|co|ly|gg|tv|validation|app|ai|us|uk|de|fr|kr|tw|cn|eu|to|page|site|link|shop"
    "|cloud|news|online|store|blog|wiki|cc|example"
)
URL = re.compile(
    rf"(?:https?|ftp)://{URL_CHARACTERS}+|(?<![\w@.])www\.[\w.-]+\.[a-z]{{2,}}{URL_CHARACTERS}*"
    rf"|(?<![\w@./-])(?:[a-z0-9-]+\.)+(?:{TOP})/{URL_CHARACTERS}+",
    re.I | re.A,
)
IP = re.compile(r"(?:(?<![\w.])|(?<=IP))(?:\d{1,3}\.){3}\d{1,3}(?!\.?\d|\w)", re.A)
VERSION_BEFORE = re.compile(r"(?:(?<![\w-])v\.?|\bver\.?|version|バージョン|release|build|§)\s*:?\s*$", re.I)
VERSION_WORD = re.compile(
    r"version|changelog|bumped|バージョン|release|plugin|library|プラグイン|ライブラリ|アプデ|アップデート|upgrade|ビルド",
    re.I,
)
IP_WORD = re.compile(
    r"(?<![A-Za-z])IP|サーバ|server|ssh|ping|ルータ|router|host|アドレス|DNS|gateway|proxy|端末|printer|LAN|VPN", re.I
)
IPV6 = re.compile(
    r"(?<![\w:.])(?=[0-9a-f:]*:[0-9a-f:]*:)[0-9a-f:]{5,39}(?:(?<=:)(?:\d{1,3}\.){3}\d{1,3})?(?![\w:])", re.I | re.A
)

HANDLE = re.compile(
    rf"(?<![{A}_@./])(?:(?:DM|IG|insta|twitter|X)(?=@))?@([{A}_][{A}_.-]{{1,28}}[{A}_])(?![/@({A}_])",
    re.I,
)
# Who is called by @ in a team's chat, and what is called so in code.
NOT_HANDLES = re.compile(
    r"\d[\d.]*|here|channel|everyone|all|home|work|school|least|most|once|property|override|staticmethod|classmethod"
    r"|dataclass|media|import|param|returns?|throws|deprecated|autowired|component|injectable|cached?_?property"
    r"|abstractmethod"
    r"|types|latest|next|transactional|echo|tailwind|cosme|count|apply|layer|charset|font-face|keyframes"
    r"|supports|include|extend|mixin|author|version|since|see|todo|test|before|after|before(?:each|all)|after"
    r"(?:each|all)|bean|service|controller|entity|table|column|id|getter|setter|data|builder|nullable|nonnull"
    r"|notnull|input|output|task|route|login_required|wraps|lru_cache|singledispatch|contextmanager|overload"
    r"|final|pytest\..*|app\..*|click\..*|functools\..*|\d*(?:am|pm|個|円)",
    re.I,
)
TAG = re.compile(rf"(?<![{A}_.#])([{A}_.]{{2,32}})#\d{{4}}(?![{A}#])")
NOT_TAGS = re.compile(
    r"(?:.*[^a-z])?(?:issue|pr|bug|ticket|no|order|room|case|item|comment|task|c|f|pull|mr|gh)s?",
    re.I,
)
ACCOUNT_LABEL = (
    r"(?:LINE|ライン|インスタ(?:グラム)?|insta(?:gram)?|IG|ツイッター|twitter|ディスコード|discord|skype"
    r"|スカイプ|snap(?:chat)?|PSN|steam"
    r"|スチーム|tiktok|telegram|テレグラム|threads|mastodon|signal|kakao|カカオ|wechat|bluesky|reddit|github"
    r"|xbox|switch|ゲーマータグ|kakao ?talk|カカオトーク|be ?real|ミクチャ|vrchat|twitch|youtube|pixiv|note"
    r"|原神|friend ?code"
    r"|フレンドコード|gamertag|venmo|cash ?app|キャッシュアプリ|paypay|ユーザー名|username|アカウント名?"
    r"|ハンドル(?:ネーム)?|handle|(?<![A-Za-z])X|(?<![A-Za-z])(?<![A-Za-z][ _-])ID)"
    r"(?:の?\s?(?:ID|アカウント(?:名)?|垢|account|name|handle|username|tag|user))?"
)
ACCOUNT_NAME = re.compile(
    rf"(?<![A-Za-z]){ACCOUNT_LABEL}\s*(?:これ|こちら)?\s*(?P<mark>は|が|も|って|:|=|→|⇒|、|\bis\b|'s\b|[「\"]|\s|"
    rf"(?<=[ぁ-んァ-ヶー]))[\s「\":→]*(?P<name>[{A}_][{A}_.:-]{{2,29}}[{A}_])(?![{A}@])",
    re.I,
)

ACCOUNT_BEFORE = re.compile(
    rf"(?<![{A}_.@])(?P<name>[{A}_][{A}_.-]{{2,28}}[{A}_])(?= on (?:insta|ig\b|twitter|discord|snap|steam|psn"
    rf"|telegram|tiktok|x\b|github))"
    rf"|(?<![{A}_.@])(?<!コード)(?<!番号)(?P<other>[{A}_][{A}_.-]{{2,28}}[{A}_])(?=(?:って|で|を)(?:検索|フォロー|追加|申請))|"
    rf"(?<![\w/])u/\w{{3,20}}|(?<!\w)live:[\w.]+",
    re.I,
)
SECRET = re.compile(
    r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----(?:.*?-----END (?:[A-Z]+ )*PRIVATE KEY-----|.*)"
    rf"|(?<![{A}_-])(?:sk-[\w-]{{16,}}|[srp]k_(?:live|test)_\w{{12,}}|gh[pousr]_\w{{20,}}|github_pat_\w{{20,}}"
    rf"|hf_\w{{20,}}|xox[abprs]-[\w-]{{10,}}"
    r"|xapp-[\w-]{10,}|A[KS]IA[0-9A-Z]{16}|AIza[\w-]{30,}|ya29\.[\w-]{20,}|eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"
    r"|gl(?:pat|rt)-[\w-]{16,}"
    r"|whsec_\w{16,}|SG\.[\w-]{10,}\.[\w-]{10,}|npm_\w{20,}|pypi-[\w-]{20,}|do[op]_v1_\w{20,}"
    r"|dckr_pat_[\w-]{16,}|shp(?:at|ss)_\w{16,}|\d{8,10}:[\w-]{35}"
    rf"|(?:rk|pk|ak|key|token|tok|sess|secret|api)[_-][\w-]{{20,}})(?![{A}_-])",
    re.A | re.S,
)
# No known beginning, but long, and of letters and digits as nobody writes words.
TOKEN = re.compile(r"(?<![\w/+.@-])[\w/+-]{20,}={0,2}(?![\w/+@-])", re.A)
SECRET_WORD = re.compile(
    r"key|token|secret|bearer|credential|auth|キー|トークン|シークレット|鍵|認証|パスワード|passw", re.I
)
PLACEHOLDER = re.compile(
    r"[$%]?[{<\[]|your|my_|x{4,}$|\*+$|\.{3}|example|changeme|dummy|placeholder|none$|null$",
    re.I,
)
PASSWORD = re.compile(
    r"(?P<word>(?<![A-Z0-9_])(?=[A-Z][A-Z0-9_]*?(?:KEY|SECRET|TOKEN|PASS|PWD))[A-Z0-9_]++(?==)|暗号化?キー"
    r"|(?:lock ?box|door|gate|entry|alarm|safe|garage) code|(?:api|access"
    r"|secret|private|license)[ _-]?key(?:[ _-]id)?|secret|token|シークレット(?:キー)?"
    r"|トークン|APIキー|アクセスキー|パスワード|パスコード|暗証番号|合言葉|パス(?=[はがを:=\s])|(?<![A-Za-z])"
    r"(?:PW|pwd|pass(?:word|wd|code|phrase)?|pin)(?![A-Za-z]))"
    r"(?:\s*[（(][^）)]{1,12}[）)]|(?: (?:for|to|on|of) (?:[a-z-]+ ){1,5}?(?=is|was|:|=)))?\s{0,9}(?P<mark>は|が|を"
    r"|:|=|→|\bis\b|\bwas\b|'s\b|\bto\b|\s|(?=[「\"'`])|(?<=ド)(?=[!-~]{6})"
    r"|(?<=番号)(?=\d{4}(?!\d)))\s{0,9}(?P<open>[「\"'`]?)"
    r"(?P<value>[!-&(-~]{4,64}|[^\s、。「」\"']{4,30})",
    re.I,
)

WIFI = re.compile(r"WIFI:\S{0,200}?P:(?P<value>[^;\s]+)")
PASSWORD_AFTER = re.compile(
    r"(?<![!-~])(?P<value>[!-~]{6,64}) (?:as|is|was) (?:the|my|our|your) (?:new |old |guest )?(?:wi-?fi )?"
    r"(?:password|passcode|pw|pass)\b",
    re.I,
)
POSTAL_JP = re.compile(
    r"〒\s?\d{3}-?\d{4}(?!\d)|(?<=郵便番号)(?:って|[はがも、:])?\s?(?P<number>\d{3}-?\d{4})(?!\d)"
    rf"|(?<![\d-])\d{{3}}-\d{{4}}(?![\d-])(?=[\s、]*(?:{PREFECTURES}|[一-龥]{{1,4}}[市区郡]))"
    r"|(?<![\d-])\d{3}-\d{4}(?![\d-])(?=\s*(?:って|が|は)?(?:郵便番号|の郵便))"
    r"|(?<![\d-])(?<=[^\d][^\d])\d{5}-\d{4}(?![\d-])"
)
POSTAL_UK = re.compile(rf"(?<![{A}])(?:GIR 0AA|[A-Z]{{1,2}}\d[A-Z\d]? ?\d[ABD-HJLNP-UW-Z]{{2}})(?![{A}])")
POSTAL_UK_ANY_CASE = re.compile(POSTAL_UK.pattern, re.I)
POSTCODE_WORD = re.compile(r"post ?code", re.I)
# "M1 1TB" is a laptop.
GIGABYTES = re.compile(r"\d[GT]B$")
POSTAL_WORD = re.compile(
    rf"(?:zip|post(?:al)?)(?:[ -]?code)?s?(?![{A}])(?:[^{A}]|(?:(?:on|of|for|in|to|the|a|my|your|our|her|his"
    rf"|their|is|was|be|should|put|it|s|use|enter|billing|shipping|home|office|card|address|account|house|new"
    rf"|old|says|said|here|mine|so|i|typed|entered|wrote|gave|needs?|only|just|asks?|wants)(?![{A}]))){{0,12}}?"
    rf"(?<![{A}])"
    rf"(?P<code>\d{{5}}(?:-\d{{4}})?|[A-Z]{{1,2}}\d[A-Z\d]? ?\d[A-Z]{{2}}|[A-Z]\d[A-Z] ?\d[A-Z]\d"
    rf"|\d{{3}}-\d{{4}})(?![{A}])",
    re.I,
)
POSTAL_STATE = re.compile(
    rf"(?:(?<=[A-Za-z.], )(?:{STATES})|(?<=[a-z] )(?!OK|IN|OR|ME|HI|OH)(?:{STATES})),? (?P<code>\d{{5}}"
    rf"(?:-\d{{4}})?)(?!\d)"
)
POSTAL_ROMAJI = re.compile(
    r"(?<=[a-z] )\d{3}-\d{4}(?=,? Japan)|(?<=[a-z], )\d{3}-\d{4}(?=,? Japan)|(?:Tokyo|Osaka|Kyoto|Japan),? "
    r"(?P<code>\d{3}-\d{4})(?![\d-])"
)
MAIL_WORD = re.compile(r"郵便|住所|送り先|届け先|宛|〒|発送|送付")
SEVEN_DIGITS = re.compile(r"(?<![\d-])\d{7}(?![\d-])", re.A)
BARE_POSTAL = re.compile(r"(?<![\d-])\d{3}-\d{4}(?![\d-])")

NUMBER = r"[\d〇一二三四五六七八九十百千]+"
PLACE = r"[一-龥々ァ-ヶーのがつ]"
HOUSE = "荘|館|寮|棟|ビル|団地|マンション|ハイツ|コーポ|タワー|アパート|住宅|センター"
ROOM = rf"[ ]?[{A}]{{0,2}}\d{{1,4}}(?:-\d{{1,4}})?(?!\d|{UNITS.replace('|階', '')})(?:号室|号|F|階)?"
BUILDING = (
    rf"(?:[ ]?(?:(?:(?<= )[ぁ-ん]|[ァ-ヶー一-龥A-Za-z第])[ァ-ヶー一-龥A-Za-zぁ-ん・]{{0,14}}?(?:{HOUSE})|"
    rf"(?=[^\s、。]{{0,14}}?[ァ-ヶー])[ァ-ヶー一-龥A-Za-z]"
    rf"[ァ-ヶー一-龥A-Za-zぁ-ん・]{{0,14}}?(?=[ ]?[{A}]{{0,2}}\d))(?:[ ]?[{A}]{{1,2}}棟)?(?:{ROOM})?"
    rf"|[ ]?\d{{1,3}}階)?"
)
ADDRESS_JP = re.compile(
    rf"(?:(?:{PREFECTURES})[ ]?)?(?:[一-龥々ァ-ヶー]{{1,6}}?|[ぁ-ん]{{2,6}})[市区郡]{PLACE}{{0,8}}?"
    rf"(?:[町村区])?[ ]?[一-龥々ァ-ヶーぁ-ん]{{0,14}}?[ ]?{NUMBER}"
    rf"(?:条(?:[東西南北])?{NUMBER}|丁目?|番地|番(?=\d)|-(?=\d)|の(?=\d))(?:{NUMBER}|丁目|番地|番|号|-(?=\d)|の"
    rf"(?=\d))*(?:号室|号)?{BUILDING}"
    rf"|(?:{PREFECTURES})[ ]?[一-龥々ァ-ヶーぁ-ん]{{1,14}}?[ ]?\d+-\d+(?:-\d+)?{BUILDING}"
    rf"|(?:{PREFECTURES})[ ]?(?:(?![はをでへも])[一-龥々ァ-ヶーぁ-ん]){{2,22}}?(?:[ ]?\d{{1,5}}|[上下]る)(?!\d"
    rf"|{UNITS}|[-/:.時]){BUILDING}"
    rf"|[一-龥ァ-ヶ]{{1,5}}町\d{{1,3}}-\d{{1,3}}-\d{{1,3}}{BUILDING}"
    rf"|[一-龥]{{1,5}}市[一-龥]{{1,3}}区[一-龥々ァ-ヶーぁ-ん]{{2,16}}?(?:上る|下る|上ル|下ル|東入ル?"
    rf"|西入ル?)[一-龥ぁ-ん]{{0,8}}(?:\d+(?:-\d+)*)?{BUILDING}"
)
STREET = (
    "Street|St|Avenue|Ave|Road|Rd|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Close|Mews|Terrace|Ter|Place|Pl|Way|Crescent|Cres"
    "|Bend|Wharf|Gardens|Gdns|Square|Sq|Grove|Row|Walk|Parkway|Pkwy|Highway|Hwy|Circle|Cir|Trail|Trl|Loop|Alley|Quay|Green|Hill"
    "|Park|View|Rise|Lofts|Quayside|Broadway|Heights|Passage|Yard|Parade|Vale|Esplanade"
)
UNIT = r"(?:Flat|Unit|Apt|Apartment|Suite|Ste|Room|Rm|Floor|No|Building|Bldg|Block)\.? ?#?\w{1,5}(?:/\d+)?|#\w{1,5}"
CAPITAL = r"[A-Z][A-Za-z'’.-]+"
ADDRESS_EN = re.compile(
    rf"(?:(?<![A-Za-z'’.-])(?:{UNIT}|The {CAPITAL}(?: House| Cottage)?"
    rf"|{CAPITAL} (?:House|Cottage|Lodge|Farm|Works|Mill|Court|Mansions?|Tower|Hall)), ){{0,2}}"
    rf"(?<![\w.,:-])\d{{1,5}}[a-zA-Z]?(?:-\d{{1,4}})? "
    rf"(?:[NSEW]\.?[EW]?\.? |North |South |East |West |Old |Upper |Lower )?(?:(?:{CAPITAL}|\d{{1,3}}(?:st|nd|rd"
    rf"|th)) ){{1,3}}(?:{STREET})\b\.?(?: [NSEW][EW]?\b)?"
    rf"(?:,? (?:{UNIT})){{0,2}}(?:(?:, |\n)(?!(?:The|I|We|It|He|She|They|You|And|But|See|Call|Ask|Ring)\b){CAPITAL}"
    rf"(?: {CAPITAL})?){{0,2}}(?:,? (?:{STATES})\b)?"
)
WARD = r"[A-Z][a-z]+(?:-[A-Za-z]+)*"
ROMAJI_AREA = rf"{WARD}-(?:ku|shi|cho|chome|machi|mura|gun|fu|ken|to|do)\b"
ADDRESS_LOOSE = re.compile(
    rf"(?<![\w.,:-])\d{{1,5}} (?!way|main|busy|min|hour|mile|block|lane|one|two)[a-z]{{3,}}(?: [a-z]{{3,}})? "
    rf"(?:street|avenue|ave|blvd|boulevard|road)\b(?:,? (?:{UNIT}))?"
    r"|P\.?O\.? ?Box \d+|(?<!\d)\d{1,4}(?: bis)?,? (?:rue|boulevard|place|impasse|quai) (?:d[eu]s? |de la "
    r"|de l')?[A-Z][\w'-]+(?:, [A-Z][a-z]+)?"
    r"|(?<![a-zäöüß])[A-Z][a-zäöü]+(?:straße|strasse|str\.|weg|platz|gasse|allee) \d{1,4}[a-z]?(?!\w)"
    r"|(?<![\w])(?:via|calle|rua) [A-Z]\w+(?: \w+)?,? \d{1,4}(?!\w)",
    re.I,
)
ADDRESS_ROMAJI = re.compile(
    rf"(?<![\w〒-])(?:\d+-){{1,3}}\d+,? {WARD}(?:, {WARD}){{0,6}}, {ROMAJI_AREA}(?:, {WARD})*"
    rf"|(?<![A-Za-z-])(?:{WARD}, ?)?(?:{ROMAJI_AREA}, ?){{1,4}}{WARD},? (?:\d+-){{1,3}}\d+"
    rf"|(?<![\w-])(?:\d+-){{2}}\d+,? {WARD}, (?:{ROMAJI_AREA}|Tokyo|Osaka|Kyoto|Yokohama|Nagoya|Sapporo|Fukuoka"
    rf"|Kobe)(?:, {WARD})*"
)

DIGITS = re.compile(
    rf"(?<![\d./])\d{{4}}(?P<dot>[./])\d{{4}}(?P=dot)\d{{4}}(?P=dot)\d{{4}}(?![./\d])|(?<![\d.¥$€£#])(?<![A-Za-z])"
    rf"(?P<plus>\+)?(?:\d[ -]{{0,2}}){{11,18}}\d(?![\d.,]\d|\d|{UNITS}|-\d)"
)
MY_NUMBER_WORD = re.compile(r"マイナンバー|個人番号|通知カード|my ?number|kojin", re.I)
BANK = re.compile(
    r"(?:[(]?(?:普通|当座|貯蓄)[)]?(?:預金|貯金|口座)?|[(][普当貯][)]|(?<![A-Za-z])(?:ordinary|futsu|touza|toza"
    r"|savings|checking"
    r"|current)(?: account)?)"
    r"(?:\s*(?:no\.?|number|#))?\s*[:#は]?\s*\d{6,8}(?!\d)"
    r"|(?P<yucho>記号\s*[:は]?\s*\d{5}\s*[,、・]?\s*番号\s*[:は]?\s*\d{6,8})(?!\d)",
    re.I,
)
# Elsewhere: a British sort code, an American routing number, and what follows the word account.
SORT_CODE = re.compile(r"(?<![\d-])\d{2}([- ])\d{2}\1\d{2}(?![\d-])", re.A)
SORT_AND_ACCOUNT = re.compile(r"\bsort(?: code)?[\s:#]*(?P<number>\d{6})(?!\d)", re.I | re.A)
SORT_WORD = re.compile(r"sort ?code|\bs/?c\b", re.I)
AFTER_SORT_CODE = re.compile(r"[\s/,|]{1,4}(?P<account>\d{8})(?!\d)", re.A)
ROUTING = re.compile(
    r"(?:routing|\bABA|\bRTN)(?:[ /]*(?:number|no\.?|#|num|transit))*[\s:#]*(?:is )?(?P<number>\d{9})(?!\d)",
    re.I | re.A,
)
ACCOUNT = re.compile(
    r"(?:account|acct?|a/c|checking|savings)\.?(?: ?(?:number|num|no|nr|#)\.?)*(?:\s*(?:is|was|=|:|#|-)\s*|\s+)"
    r"(?P<number>\d{6,17}|\d{4} \d{4}(?: \d{1,4})?)(?![\d-]|[.,]\d)",
    re.I | re.A,
)
BRANCH_AND_ACCOUNT = re.compile(r"(?<![\d-])(?:\d{3}-\d{7}|1\d{4}-\d{6,8})(?![\d-])", re.A)
BANK_WORD = re.compile(r"口座|普通|当座|銀行|振込|信金|信用金庫|ゆうちょ|bank|account|branch|acct", re.I)
BANK_NUMBER = re.compile(rf"(?<![\d.,¥$€£#-])(?<![A-Za-z])\d{{7,8}}(?![\d.,]\d|\d|-\d|{UNITS})")
IBAN = re.compile(rf"(?<![{A}])[A-Z]{{2}}\d{{2}}(?:[ ]?[A-Z0-9]{{4}}){{2,7}}(?:[ ]?[A-Z0-9]{{1,3}})?(?![{A}])", re.I)
PHONE_CANDIDATE = re.compile(r"[+(0-9][\d\s().-]{6,40}?\d")
PHONE_WORD = re.compile(
    r"call|text|(?<![A-Za-z])ph(?![A-Za-z])|phone|cell|mobile|ring|tel|number|reach|whatsapp|contact|hit me|fax"
    r"|dial|📞|📱|☎|🤙",
    re.I,
)
WORD_BEFORE_PHONE = re.compile(r"(?:TEL|FAX|PHONE|CELL|MOB)(?=[+(]?\d)", re.I)
# Not given out to anybody, or not yet, but written as a telephone number is.
PHONE_FORM = re.compile(r"(?<![\d+])(?:\+\d{1,3}(?:[ .-]?\(?\d{1,5}\)?){2,6}|07\d{3} ?\d{3} ?\d{3})(?![\d-])", re.A)
NOT_PHONE = re.compile(
    r"(?:型番|品番|コード|部品|伝票|追跡|注文|予約|整理|受付|会員|シリアル|ロット|問い合わせ番号|ISBN|order|part|serial|item|tracking|model"
    r"|invoice|ref)(?:番号| ?no\.?| ?number|#)?[\s:は#]*$",
    re.I,
)
BEFORE_NO_PHONE = frozenset("¥$€£#v._/=&")
HAS_NUMBER = re.compile(r"\d.*\d.*\d.*\d.*\d.*\d", re.S)


def plain(text: str) -> str:
    """The text with full-width letters, spaces and every kind of dash made plain; as long as before."""
    return LONG_VOWEL.sub("-", text.translate(PLAIN))


def whole(pattern: re.Pattern[str], text: str) -> Iterator[Span]:
    """Where a pattern matches; of a match with a group the group."""
    for match in pattern.finditer(text):
        group = match.lastgroup if match.lastgroup and match.group(match.lastgroup) else 0
        yield match.span(group)


def secrets(text: str) -> Iterator[Span]:
    """Keys and tokens: known beginnings, private keys whole, and long random words."""
    yield from whole(SECRET, text)
    for match in TOKEN.finditer(text):
        word = match.group()
        mixed = bool(re.search("[a-z]", word)) + bool(re.search("[A-Z]", word)) + (len(re.findall(r"\d", word)) > 1)
        hexadecimal = re.fullmatch("[0-9a-f-]+", word) is not None
        told = SECRET_WORD.search(text[max(0, match.start() - 30) : match.start()]) is not None
        if (mixed == 3 and not hexadecimal and "/" not in word) or (told and mixed >= 2):
            yield match.span()


def passwords(text: str) -> Iterator[Span]:
    """What follows "password:" and its like, if it can be one: "password again" cannot."""
    for match in PASSWORD.finditer(text):
        value, mark = match["value"], match["mark"].strip()
        end = match.end("value")
        if match["open"] and match["open"] in value:
            value = value[: value.index(match["open"])]
        value = value.rstrip(".,;:!?)'\"`" if value[-1:] in ".,;:)'\"`" else "")
        end = match.start("value") + len(value)
        odd = re.search(r"\d|[^\w.,'-]", value) or re.search("[a-z][A-Z]", value)
        if PLACEHOLDER.match(value):
            continue
        if not value.isascii() and not ((mark in (":", "=") or match["open"]) and re.search(r"\d", value)):
            continue
        if match["mark"].isspace() or not mark:
            odd = re.search(r"\d", value) or re.search(r"[^\w?!]", value[:-1]) if not match["open"] else value
        if len(value) >= 4 and (odd or mark in (":", "=", "は", "→")) and not value.startswith(("http", "//")):
            yield match.start("value"), end

    for start, end in whole(PASSWORD_AFTER, text):
        if re.search(r"\d", text[start:end]):
            yield start, end
    yield from whole(WIFI, text)


def handles(text: str) -> Iterator[Span]:
    """@names, name#1234, and what follows the name of a service."""
    for match in HANDLE.finditer(text):
        if not NOT_HANDLES.fullmatch(match[1]):
            yield match.start(1) - 1, match.end(1)
    for match in TAG.finditer(text):
        if not NOT_TAGS.fullmatch(match[1]):
            yield match.span()
    for start, end in whole(ACCOUNT_BEFORE, text):
        if re.search(r"[\d_:/]|\w[.-]\w", text[start:end]) and re.search("[A-Za-z]", text[start:end]):
            yield start, end
    for match in ACCOUNT_NAME.finditer(text):
        if match[0].lower().startswith("id") and not re.search("[A-Za-z]", match["name"]):
            continue
        looks_made_up = re.search(r"[\d_]|\w[.:-]\w", match["name"]) is not None
        if looks_made_up or match["mark"] in (":", "="):
            yield match.span("name")


def ip_addresses(text: str) -> Iterator[Span]:
    """IPv4 and IPv6; four numbers that are called a version are one."""
    of_software = None
    for pattern in (IP, IPV6):
        for match in pattern.finditer(text):
            try:
                ipaddress.ip_address(match.group())
            except ValueError:
                continue
            if of_software is None:
                of_software = VERSION_WORD.search(text) is not None and not IP_WORD.search(text)
            before, after = text[max(0, match.start() - 12) : match.start()], text[match.end() :]
            if not (VERSION_BEFORE.search(before) or after.startswith(("節", "章")) or (pattern is IP and of_software)):
                yield match.span()


def postal_codes(text: str) -> Iterator[Span]:
    """Japanese, British and, beside a state or the word, American ones."""
    for pattern in (POSTAL_JP, POSTAL_STATE, POSTAL_ROMAJI):
        yield from whole(pattern, text)
    for start, end in whole(POSTAL_UK, text):
        if not GIGABYTES.search(text[start:end]) or text[max(0, start - 2) : start] == ", ":
            yield start, end
    for match in POSTAL_WORD.finditer(text):
        yield match.span("code")
    if POSTCODE_WORD.search(text):
        yield from whole(POSTAL_UK_ANY_CASE, text)
    if MAIL_WORD.search(text):
        yield from whole(BARE_POSTAL, text)
    if "郵便番号" in text:
        yield from whole(SEVEN_DIGITS, text)


def addresses(text: str) -> Iterator[Span]:
    """Down to the house: Japanese, Japanese in Latin letters, English."""
    for pattern in (ADDRESS_JP, ADDRESS_ROMAJI, ADDRESS_EN, ADDRESS_LOOSE):
        yield from whole(pattern, text)


def ibans(text: str) -> Iterator[Span]:
    """International account numbers, by their check digits."""
    from stdnum import iban

    for match in IBAN.finditer(text):
        # What follows may be taken for its last group: the longest beginning that checks is it.
        pieces = match.group().split(" ")
        for n in range(len(pieces), 0, -1):
            candidate = " ".join(pieces[:n])
            if iban.is_valid(candidate.upper(), check_country=False):
                yield match.start(), match.start() + len(candidate)
                break


def bank_accounts(text: str) -> Iterator[Span]:
    """Japanese accounts with their type, and seven digits where a bank is spoken of."""
    yield from whole(BANK, text)
    told = SORT_WORD.search(text) is not None
    for match in SORT_CODE.finditer(text):
        account = AFTER_SORT_CODE.match(text, match.end())
        if told or account:
            yield match.span()
        if account:
            yield account.span("account")
    for pattern in (SORT_AND_ACCOUNT, ROUTING, ACCOUNT):
        yield from whole(pattern, text)
    if BANK_WORD.search(text):
        yield from whole(BANK_NUMBER, text)
        yield from whole(BRANCH_AND_ACCOUNT, text)


def checked_numbers(text: str) -> Iterator[tuple[str, Span]]:
    """Cards and My Numbers, by their check digits."""
    from stdnum import luhn
    from stdnum.jp import in_ as my_number

    for match in DIGITS.finditer(text):
        if match["plus"]:  # the number of a telephone with its country
            continue
        digits = re.sub(r"\D", "", match.group())
        if 14 <= len(digits) <= 19 and luhn.is_valid(digits) and digits[0] in "23456":
            yield "card", match.span()
        elif len(digits) == 12 and my_number.is_valid(digits):
            grouped = re.fullmatch(r"\d{4}([ -])\d{4}\1\d{4}", match.group())
            if digits[0] != "0" or grouped or MY_NUMBER_WORD.search(text):
                yield "My Number", match.span()


def phones(text: str, regions: Iterable[str]) -> Iterator[Span]:
    """Telephone numbers that are possible in one of the regions.

    Without a country code, numbers of the other regions are taken where no Japanese is, and ten digits in a row only
    where telephones are spoken of: parcels and orders have such numbers too.
    """
    if not PHONE_CANDIDATE.search(text):
        return
    import phonenumbers

    # The library wants a space before a number.
    text = WORD_BEFORE_PHONE.sub(lambda word: " " * len(word.group()), text)
    japanese, told = JAPANESE.search(text), PHONE_WORD.search(text)
    for n, region in enumerate(regions):
        # Elsewhere than at home a number is one if it is also grouped as one.
        how = phonenumbers.Leniency.STRICT_GROUPING if n else phonenumbers.Leniency.VALID
        for match in phonenumbers.PhoneNumberMatcher(text, region, how):
            if text[match.start - 1 : match.start] in BEFORE_NO_PHONE and match.start:
                continue
            foreign = n and not match.raw_string.startswith("+")
            if foreign and (japanese or (match.raw_string.isdigit() and not told)):
                continue
            if not _is_called_otherwise(text, match.start):
                yield match.start, match.end
    for match in PHONE_FORM.finditer(text):
        try:
            number = phonenumbers.parse(match.group(), "GB")
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_possible_number(number) and not _is_called_otherwise(text, match.start()):
            yield match.span()


def _is_called_otherwise(text: str, start: int) -> bool:
    """Whether what stands just before a number says that it is an order's, a part's or the like."""
    return NOT_PHONE.search(text[max(0, start - 16) : start]) is not None
