//! A page in each of many languages.

use tests::fixture::Folder;

/// Locale, title and text.
const PAGES: &[(&str, &str, &str)] = &[
    (
        "de",
        "Passwort zurücksetzen",
        "Öffnen Sie die Kontoeinstellungen und wählen Sie „Passwort ändern“. Größere Änderungen brauchen eine Bestätigung.",
    ),
    (
        "fr",
        "Réinitialiser le mot de passe",
        "Ouvrez les réglages du compte, puis choisissez « Changer le mot de passe ». L'écran s'affiche à nouveau.",
    ),
    (
        "es",
        "Restablecer la contraseña",
        "Abra los ajustes de la cuenta y elija «Cambiar contraseña». ¿No ha recibido el mensaje? Espere unos minutos.",
    ),
    (
        "pt",
        "Redefinir a senha",
        "Abra as configurações da conta e escolha “Alterar senha”. A confirmação chega por e-mail em alguns minutos.",
    ),
    (
        "tr",
        "Şifreyi sıfırlama",
        "Hesap ayarlarını açın ve şifreyi değiştir seçeneğini seçin. İSTANBUL ve ığdır aynı harflerle yazılmaz.",
    ),
    (
        "pl",
        "Resetowanie hasła",
        "Otwórz ustawienia konta i wybierz zmianę hasła. Wiadomość z potwierdzeniem przyjdzie po kilku minutach.",
    ),
    ("vi", "Đặt lại mật khẩu", "Mở phần cài đặt tài khoản và chọn đổi mật khẩu. Thư xác nhận sẽ đến sau vài phút."),
    (
        "el",
        "Επαναφορά κωδικού πρόσβασης",
        "Ανοίξτε τις ρυθμίσεις του λογαριασμού και επιλέξτε αλλαγή κωδικού. Το μήνυμα φτάνει σε λίγα λεπτά.",
    ),
    (
        "ru",
        "Сброс пароля",
        "Откройте настройки учётной записи и выберите смену пароля. Письмо с подтверждением придёт через несколько минут.",
    ),
    ("ar", "إعادة تعيين كلمة المرور", "افتح إعدادات الحساب واختر تغيير كلمة المرور. تصل رسالة التأكيد بعد بضع دقائق."),
    ("he", "איפוס סיסמה", "פתחו את הגדרות החשבון ובחרו שינוי סיסמה. הודעת האישור תגיע בעוד כמה דקות."),
    ("hi", "पासवर्ड रीसेट करें", "खाता सेटिंग खोलें और पासवर्ड बदलें चुनें। पुष्टि का संदेश कुछ मिनटों में आएगा।"),
    ("th", "รีเซ็ตรหัสผ่าน", "เปิดการตั้งค่าบัญชีแล้วเลือกเปลี่ยนรหัสผ่าน ข้อความยืนยันจะมาถึงภายในไม่กี่นาที"),
    ("lo", "ຕັ້ງລະຫັດຜ່ານໃໝ່", "ເປີດການຕັ້ງຄ່າບັນຊີ ແລ້ວເລືອກປ່ຽນລະຫັດຜ່ານ"),
    ("km", "កំណត់ពាក្យសម្ងាត់ឡើងវិញ", "បើកការកំណត់គណនី ហើយជ្រើសរើសប្ដូរពាក្យសម្ងាត់។"),
    ("my", "စကားဝှက်ကို ပြန်လည်သတ်မှတ်ပါ", "အကောင့်ဆက်တင်များကိုဖွင့်ပြီး စကားဝှက်ပြောင်းရန်ကို ရွေးပါ။"),
    ("zh", "重置密码", "打开帐户设置,选择更改密码。几分钟后您会收到确认邮件。错误代码 E-1042 表示链接已过期。"),
    (
        "ja",
        "パスワードを再設定する",
        "アカウント設定を開き、「パスワードを変更」を選びます。数分後に確認メールが届きます。",
    ),
    ("ko", "비밀번호 재설정", "계정 설정을 열고 비밀번호 변경을 선택하세요. 몇 분 후에 확인 메일이 도착합니다."),
    ("bo", "གསང་ཨང་བསྐྱར་སྒྲིག", "རྩིས་ཁྲའི་སྒྲིག་འགོད་ཁ་ཕྱེས་ནས་གསང་ཨང་བརྗེ་བ་འདེམས།"),
    (
        "en",
        "Codes, tables and <b>odd</b> 💥 characters",
        "Error `ERR_CONN_42` means \"no route\" & <nothing> else. See https://example.com/a_b?c=d%20e.\n\n```\nif (a < b && c > d) { return \"</mark>\"; }\n```\n\n| 👩🏽‍💻 | H₂O |\n|---|---|\n| e\u{301}\u{301}\u{301} | x\u{202E}y |",
    ),
];

/// The pages as files.
pub(crate) fn folder() -> Folder {
    let files = Folder::of(&[]);
    for (locale, title, text) in PAGES {
        let title = serde_json::Value::from(*title);
        files.write(&format!("{locale}.md"), format!("---\ntitle: {title}\nlocale: {locale}\n---\n\n{text}\n"));
    }
    files
}

/// Their sentences.
pub(crate) fn sentences() -> impl Iterator<Item = &'static str> {
    PAGES.iter().flat_map(|(_, _, text)| text.split_inclusive(['.', '?', '。', '।', '\n'])).map(str::trim)
}
